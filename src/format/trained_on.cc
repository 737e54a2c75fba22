#include "format/trained_on.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/random.h"
#include "format/json_reader.h"
#include "format/mapped_file.h"

namespace kvlab {

namespace {

constexpr const char* kFormat = "kvlab trained_on 1";
constexpr uint64_t kBase = 0x9e3779b97f4a7c15ull;

uint64_t mixed(int32_t token) {
  return mix64(static_cast<uint32_t>(token));
}

// kBase^exponent modulo 2^64.
constexpr uint64_t power(int64_t exponent) {
  uint64_t product = 1;
  for (; exponent > 0; --exponent) product *= kBase;
  return product;
}

// Calls use(offset, hash) for the shingle at every offset, moving the sum along token by token.
template <typename Use>
void each_shingle(std::span<const int32_t> tokens, const Use& use) {
  constexpr uint64_t kOldest = power(TrainedOn::kShingle - 1);
  const auto size = static_cast<int64_t>(tokens.size());
  uint64_t sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    sum = sum * kBase + mixed(tokens[i]);
    const int64_t offset = i - (TrainedOn::kShingle - 1);
    if (offset < 0) continue;
    use(offset, mix64(sum));
    sum -= mixed(tokens[offset]) * kOldest;
  }
}

std::string hash_ids(std::span<const int32_t> tokens) {
  uint64_t hash = tokens.size();
  for (const int32_t token : tokens) hash = mix64(hash ^ static_cast<uint32_t>(token));
  return fmt::format("{:016x}", hash);
}

void put_whole(const std::string& path, const std::string& content) {
  // The process number keeps two runs apart that write the same file.
  const std::string part = path + ".part" + std::to_string(getpid());
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (file && std::rename(part.c_str(), path.c_str()) == 0) return;
  const std::string why = std::strerror(errno);
  std::remove(part.c_str());
  throw UserError(fmt::format("cannot write {}: {}", path, why));
}

void require_value(const JsonSettings& json, const std::string& key, int64_t wanted) {
  const int64_t found = json.needed_integer(key, 1, std::numeric_limits<int32_t>::max());
  if (found == wanted) return;
  throw UserError(fmt::format("{}: '{}' is {}, and this version of kvlab reads {} only; make the record anew",
                              json.file(), key, found, wanted));
}

TrainedOn::Text read_text(const JsonSettings& json) {
  return {json.needed_text("name"), json.needed_integer("tokens", 0, std::numeric_limits<int64_t>::max()),
          json.needed_text("hash")};
}

uint64_t read_shingle(const nlohmann::json& value, size_t index, const std::string& path) {
  uint64_t hash = 0;
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, hash, 16);
    if (text.size() == 16 && error == std::errc() && stop == end) return hash;
  }
  throw UserError(fmt::format("{}: 'shingles[{}]' is {} (expected a string of 16 hexadecimal digits)", path,
                              index, json_value_text(value)));
}

}  // namespace

void TrainedOn::add(std::span<const int32_t> tokens, const std::string& name) {
  texts_.push_back({name.substr(name.rfind('/') + 1), static_cast<int64_t>(tokens.size()), hash_ids(tokens)});
  each_shingle(tokens, [&](int64_t offset, uint64_t hash) {
    if (offset % kStride == 0) shingles_.insert(hash);
  });
}

int64_t TrainedOn::overlap(std::span<const int32_t> tokens) const {
  int64_t found = 0;
  each_shingle(tokens, [&](int64_t, uint64_t hash) { found += shingles_.contains(hash) ? 1 : 0; });
  return found;
}

void TrainedOn::write(const std::string& path) const {
  nlohmann::ordered_json json = {
      {"format", kFormat}, {"shingle_tokens", kShingle}, {"stride", kStride}, {"vocabulary", vocabulary_}};
  json["texts"] = nlohmann::ordered_json::array();
  for (const Text& text : texts_)
    json["texts"].push_back({{"name", text.name}, {"tokens", text.tokens}, {"hash", text.hash}});
  std::vector<uint64_t> sorted(shingles_.begin(), shingles_.end());
  std::sort(sorted.begin(), sorted.end());
  json["shingles"] = nlohmann::ordered_json::array();
  for (const uint64_t hash : sorted) json["shingles"].push_back(fmt::format("{:016x}", hash));
  // Names are as data files have them, which need not be UTF-8.
  put_whole(path, json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

TrainedOn TrainedOn::read(const std::string& path) {
  const MappedFile file(path);
  const nlohmann::json parsed = parse_json(file.text(), path);
  const JsonSettings json(parsed, path);
  if (json.needed_text("format") != kFormat) throw json.bad("format", fmt::format("'{}'", kFormat));
  require_value(json, "shingle_tokens", kShingle);
  require_value(json, "stride", kStride);
  TrainedOn record(json.needed_integer("vocabulary", 1, std::numeric_limits<int32_t>::max()));
  if (!json.has("texts")) throw json.missing("texts");
  for (const JsonSettings& text : json.objects("texts")) record.texts_.push_back(read_text(text));
  const nlohmann::json* shingles = json.find("shingles");
  if (!shingles) throw json.missing("shingles");
  if (!shingles->is_array()) throw json.bad("shingles", "an array");
  for (size_t i = 0; i < shingles->size(); ++i)
    record.shingles_.insert(read_shingle((*shingles)[i], i, path));
  return record;
}

std::string trained_on_path(const std::string& model_path) {
  const std::filesystem::path path = model_path;
  if (std::filesystem::is_directory(path)) return (path / "trained_on.json").string();
  return std::filesystem::path(path).replace_extension(".trained_on.json").string();
}

std::optional<TrainedOn> read_trained_on(const std::string& model_path) {
  const std::string path = trained_on_path(model_path);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return TrainedOn::read(path);
}

}  // namespace kvlab
