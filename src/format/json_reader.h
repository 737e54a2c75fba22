// Settings from a JSON file with checked types and ranges. Every error names the file, the key and the value.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace kvlab {

// Parses text that came from `file`. Throws UserError naming the file, the byte and what is wrong there, also
// when values are nested deeper than any that kvlab reads.
nlohmann::json parse_json(std::string_view text, const std::string& file);

// What the JSON library found wrong, in one short line of valid UTF-8 without the library's own marks.
std::string json_mistake(const nlohmann::json::exception& error);

// A short text of a value for error messages: numbers and strings as they are, the rest by kind ("an
// object").
std::string json_value_text(const nlohmann::json& value);

// The settings of one JSON object. A key that is missing or null gives nullopt; one of another type or out of
// range, UserError. The object must outlive the reader.
class JsonSettings {
 public:
  // `prefix` stands before the keys in errors: "rope_scaling.".
  JsonSettings(const nlohmann::json& object, std::string file, std::string prefix = "");

  bool has(const std::string& key) const { return find(key) != nullptr; }
  std::optional<int64_t> integer(const std::string& key, int64_t least, int64_t most) const;
  int64_t needed_integer(const std::string& key, int64_t least, int64_t most) const;
  std::optional<double> positive(const std::string& key) const;  // finite and above 0
  double needed_positive(const std::string& key) const;
  std::optional<bool> flag(const std::string& key) const;
  std::optional<std::string> text(const std::string& key) const;
  std::string needed_text(const std::string& key) const;
  std::optional<JsonSettings> object(const std::string& key) const;
  JsonSettings needed_object(const std::string& key) const;
  std::vector<JsonSettings> objects(const std::string& key) const;  // of an array; missing: none
  // The value as it is; nullptr: missing or null.
  const nlohmann::json* find(const std::string& key) const;

  UserError missing(const std::string& key) const;
  UserError bad(const std::string& key, const std::string& expected) const;
  const std::string& file() const { return file_; }

 private:
  const nlohmann::json* object_;
  std::string file_, prefix_;
};

}  // namespace kvlab
