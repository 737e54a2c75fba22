#include "evals/ids_file.h"

#include <fstream>
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/json_reader.h"

namespace kvlab {

namespace {

// As a stream, so that a pipe will do.
std::string read_all(const std::string& path) {
  std::ostringstream text;
  std::ifstream file(path, std::ios::binary);
  if (!(text << file.rdbuf())) throw UserError(path + ": cannot be read, or is empty");
  return std::move(text).str();
}

constexpr const char* kExpected = "expected a JSON array of token ids, or an object with the array 'tokens'";

const nlohmann::json& ids_of(const nlohmann::json& json, const std::string& path) {
  if (json.is_array()) return json;
  if (!json.is_object()) {
    throw UserError(fmt::format("{}: {}, found {}", path, kExpected, json_value_text(json)));
  }
  const auto found = json.find("tokens");
  if (found == json.end()) throw UserError(fmt::format("{}: {}, found no 'tokens'", path, kExpected));
  if (!found->is_array()) {
    throw UserError(
        fmt::format("{}: 'tokens' is {} (expected an array of token ids)", path, json_value_text(*found)));
  }
  return *found;
}

}  // namespace

Document read_ids_file(const std::string& path) {
  constexpr uint64_t kMost = std::numeric_limits<int32_t>::max();
  const nlohmann::json json = parse_json(read_all(path), path);
  const nlohmann::json& ids = ids_of(json, path);
  if (ids.empty()) throw UserError(path + ": no token ids");
  Document document;
  document.id = path;
  document.ids.reserve(ids.size());
  for (const nlohmann::json& id : ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMost) {
      throw UserError(fmt::format("{}: element {} is {} (expected a token id, a whole number 0..{})", path,
                                  document.ids.size(), json_value_text(id), kMost));
    }
    document.ids.push_back(id.get<int32_t>());
  }
  return document;
}

}  // namespace kvlab
