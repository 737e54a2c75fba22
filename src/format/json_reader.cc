#include "format/json_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "base/utf8_check.h"

namespace kvlab {
namespace {

// Deeper than any file that kvlab reads; some walks over a value recurse.
constexpr int kMostDepth = 100;

// Error texts quote the input, which may be megabytes long.
std::string shortened(std::string text) {
  constexpr size_t kMost = 200;
  if (text.size() > kMost) text = with_valid_utf8(text.substr(0, kMost)) + "...";
  return text;
}

// Counts brackets outside strings, so that the parser need not be asked.
void check_depth(std::string_view text, const std::string& file) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '[' || c == '{') && ++depth > kMostDepth) {
      throw UserError(
          fmt::format("{}: bad JSON at byte {}: values nested more than {} deep", file, i + 1, kMostDepth));
    } else if (!in_string && (c == ']' || c == '}')) {
      --depth;
    }
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& file) {
  check_depth(text, file);
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    throw UserError(fmt::format("{}: bad JSON at byte {}: {}", file, error.byte, json_mistake(error)));
  } catch (const nlohmann::json::exception& error) {  // a number too large for a double
    throw UserError(fmt::format("{}: bad JSON: {}", file, json_mistake(error)));
  }
}

// The library writes "[json.exception.parse_error.101] parse error at line 1, column 5: ...", or no position.
std::string json_mistake(const nlohmann::json::exception& error) {
  std::string message = error.what();
  if (const size_t close = message.find("] "); close != std::string::npos) message.erase(0, close + 2);
  if (message.starts_with("parse error")) {
    if (const size_t colon = message.find(": "); colon != std::string::npos) message.erase(0, colon + 2);
  }
  return shortened(with_valid_utf8(message));
}

std::string json_value_text(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  return shortened(value.dump());
}

JsonSettings::JsonSettings(const nlohmann::json& object, std::string file, std::string prefix)
    : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    throw UserError(fmt::format("{}: expected a JSON object, found {}", file_, json_value_text(object)));
  }
}

const nlohmann::json* JsonSettings::find(const std::string& key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

UserError JsonSettings::missing(const std::string& key) const {
  return UserError(fmt::format("{}: '{}{}' is missing", file_, prefix_, key));
}

UserError JsonSettings::bad(const std::string& key, const std::string& expected) const {
  const nlohmann::json* value = find(key);
  return UserError(fmt::format("{}: '{}{}' is {} (expected {})", file_, prefix_, key,
                               value ? json_value_text(*value) : "missing", expected));
}

std::optional<int64_t> JsonSettings::integer(const std::string& key, int64_t least, int64_t most) const {
  const nlohmann::json* value = find(key);
  if (!value) return std::nullopt;
  const std::string expected = fmt::format("an integer {}..{}", least, most);
  if (!value->is_number_integer()) throw bad(key, expected);
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw bad(key, expected);
  }
  const auto number = value->get<int64_t>();
  if (number < least || number > most) throw bad(key, expected);
  return number;
}

int64_t JsonSettings::needed_integer(const std::string& key, int64_t least, int64_t most) const {
  const auto value = integer(key, least, most);
  if (!value) throw missing(key);
  return *value;
}

std::optional<double> JsonSettings::positive(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_number()) throw bad(key, "a positive number");
  const auto number = value->get<double>();
  if (!(number > 0) || !std::isfinite(number)) throw bad(key, "a positive number");
  return number;
}

double JsonSettings::needed_positive(const std::string& key) const {
  const auto value = positive(key);
  if (!value) throw missing(key);
  return *value;
}

std::optional<bool> JsonSettings::flag(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) throw bad(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonSettings::text(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) throw bad(key, "a string");
  return value->get<std::string>();
}

std::string JsonSettings::needed_text(const std::string& key) const {
  auto value = text(key);
  if (!value) throw missing(key);
  return std::move(*value);
}

std::optional<JsonSettings> JsonSettings::object(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_object()) throw bad(key, "an object");
  return JsonSettings(*value, file_, prefix_ + key + ".");
}

JsonSettings JsonSettings::needed_object(const std::string& key) const {
  const auto value = object(key);
  if (!value) throw missing(key);
  return *value;
}

std::vector<JsonSettings> JsonSettings::objects(const std::string& key) const {
  std::vector<JsonSettings> list;
  const nlohmann::json* value = find(key);
  if (!value) return list;
  if (!value->is_array()) throw bad(key, "an array");
  for (const nlohmann::json& item : *value) {
    const std::string place = fmt::format("{}{}[{}]", prefix_, key, list.size());
    if (!item.is_object()) {
      throw UserError(
          fmt::format("{}: '{}' is {} (expected an object)", file_, place, json_value_text(item)));
    }
    list.emplace_back(item, file_, place + ".");
  }
  return list;
}

}  // namespace kvlab
