#include "evals/document_line.h"

#include <cstdint>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8_check.h"
#include "format/json_reader.h"

namespace kvlab {

namespace {

using Json = nlohmann::ordered_json;  // keeps the fields in the file's order for messages

[[noreturn]] void refuse(const std::string& place, const std::string& why) {
  throw UserError(place + ": " + why);
}

Json parse_object(std::string_view line, const std::string& place) {
  Json object;
  try {
    object = Json::parse(line);
  } catch (const Json::parse_error& error) {
    refuse(place, fmt::format("bad JSON at column {}: {}", error.byte, json_mistake(error)));
  } catch (const Json::exception& error) {  // a number too large for a double
    refuse(place, fmt::format("bad JSON: {}", json_mistake(error)));
  }
  if (object.is_array()) {
    refuse(place,
           "is a JSON array; kvlab reads JSONL, one object per line (jq -c '.[]' makes it from an array)");
  }
  if (!object.is_object()) refuse(place, fmt::format("is a {}, expected an object", object.type_name()));
  return object;
}

std::string fields_present(const Json& object) {
  constexpr size_t kMost = 10, kLongest = 40;
  std::string list;
  size_t count = 0;
  for (const auto& item : object.items()) {
    if (count == kMost) return list + ", ...";
    std::string name = item.key();
    if (name.size() > kLongest) name = with_valid_utf8(name.substr(0, kLongest)) + "...";
    list += (count++ ? ", " : "") + name;
  }
  return count ? list : "none";
}

[[noreturn]] void refuse_missing(const Json& object, const std::string& place, const std::string& wanted) {
  refuse(place, fmt::format("no field {} (fields present: {})", wanted, fields_present(object)));
}

const Json& required(const Json& object, const std::string& place, const std::string& name) {
  const auto found = object.find(name);
  if (found == object.end()) refuse_missing(object, place, '"' + name + '"');
  return *found;
}

const Json& required_array(const Json& object, const std::string& place, const std::string& name) {
  const Json& value = required(object, place, name);
  if (!value.is_array()) {
    refuse(place, fmt::format("field \"{}\" is a {}, expected an array", name, value.type_name()));
  }
  return value;
}

std::string text_field_of(const Json& object, const std::string& place, const DocumentOptions& options) {
  if (!options.text_field.empty()) return options.text_field;
  for (const char* name : {"text", "content"}) {
    if (object.contains(name)) return name;
  }
  refuse_missing(object, place, "\"text\" or \"content\"; name another with --text_field");
}

std::string read_text(const Json& object, const std::string& place, const DocumentOptions& options) {
  const std::string name = text_field_of(object, place, options);
  const Json& value = required(object, place, name);
  if (!value.is_string()) {
    refuse(place, fmt::format("field \"{}\" is a {}, expected a string", name, value.type_name()));
  }
  std::string text = value.get<std::string>();
  if (text.empty() && !options.empty_text) {
    refuse(place, fmt::format("field \"{}\" is empty; rows of one text need --join wikitext or gptq", name));
  }
  return text;
}

std::vector<int32_t> read_ids(const Json& object, const std::string& place, const std::string& name) {
  const Json& array = required_array(object, place, name);
  if (array.empty()) refuse(place, fmt::format("field \"{}\" is empty", name));
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (const Json& value : array) {
    const bool fits = value.is_number_unsigned() &&
                      value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
    if (!fits) {
      refuse(place, fmt::format("field \"{}\", element {}: expected a token id, a whole number 0..2147483647",
                                name, ids.size()));
    }
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

std::vector<uint8_t> read_mask(const Json& object, const std::string& place, const std::string& name,
                               size_t tokens) {
  const Json& array = required_array(object, place, name);
  if (array.size() != tokens) {
    refuse(place, fmt::format("field \"{}\" has {} values for {} tokens", name, array.size(), tokens));
  }
  std::vector<uint8_t> mask;
  mask.reserve(tokens);
  for (const Json& value : array) {
    const bool bit = value.is_boolean() || (value.is_number_unsigned() && value.get<uint64_t>() <= 1);
    if (!bit) refuse(place, fmt::format("field \"{}\", element {}: expected 0 or 1", name, mask.size()));
    mask.push_back(value.is_boolean() ? value.get<bool>() : value.get<uint8_t>());
  }
  return mask;
}

std::string read_id(const Json& object, const std::string& place) {
  const auto found = object.find("id");
  if (found != object.end() && found->is_string()) return found->get<std::string>();
  if (found != object.end() && found->is_number_integer()) return found->dump();
  return place;
}

}  // namespace

void require_utf8(std::string_view text, const std::string& place, const std::string& what, size_t offset) {
  const size_t bad = first_invalid_utf8(text);
  if (bad == std::string_view::npos) return;
  refuse(place, fmt::format("is not UTF-8 text: byte 0x{:02x} at offset {} of the {}",
                            static_cast<uint8_t>(text[bad]), offset + bad, what));
}

Document parse_document_line(std::string_view line, const std::string& place,
                             const DocumentOptions& options) {
  require_utf8(line, place, "line");
  const Json object = parse_object(line, place);
  Document document;
  document.id = read_id(object, place);
  if (options.tokens_field.empty()) {
    document.text = read_text(object, place, options);
    return document;
  }
  document.ids = read_ids(object, place, options.tokens_field);
  if (!options.mask_field.empty()) {
    document.mask = read_mask(object, place, options.mask_field, document.ids.size());
  }
  return document;
}

}  // namespace kvlab
