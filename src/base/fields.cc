#include "base/fields.h"

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace kvlab {

namespace {

std::string real_text(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

bool plain_word(const std::string& text) {
  if (text.empty()) return false;
  for (char c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.') return false;
  }
  return true;
}

template <typename T>
bool read_number(const std::string& text, T& value) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (begin != end && *begin == '+') ++begin;
  const auto [ptr, error] = std::from_chars(begin, end, value);
  return error == std::errc() && ptr == end;
}

}  // namespace

std::string to_text(const Value& value) {
  if (auto* i = std::get_if<int64_t>(&value)) return std::to_string(*i);
  if (auto* d = std::get_if<double>(&value)) return real_text(*d);
  if (auto* s = std::get_if<std::string>(&value)) return plain_word(*s) ? *s : '"' + *s + '"';
  return "";
}

nlohmann::ordered_json to_json(const Value& value) {
  if (auto* i = std::get_if<int64_t>(&value)) return *i;
  if (auto* d = std::get_if<double>(&value)) return *d;
  if (auto* s = std::get_if<std::string>(&value)) return *s;
  return nullptr;
}

std::string Field::range_text() const {
  std::string text;
  switch (type) {
    case Type::kInt:
      text = "integer";
      break;
    case Type::kReal:
      text = "number";
      break;
    case Type::kName:
      text = choices.empty() ? "name" : "";
      break;
    case Type::kPath:
      text = "path";
      break;
  }
  for (size_t i = 0; i < choices.size(); ++i) text += (i ? "|" : "") + choices[i];
  if (type == Type::kInt || type == Type::kReal) {
    if (std::isfinite(least) && std::isfinite(most)) {
      text += " " + real_text(least) + ".." + real_text(most);
    } else if (std::isfinite(least)) {
      text += " >= " + real_text(least);
    }
  }
  if (!std::holds_alternative<std::monostate>(fallback)) text += ", default " + to_text(fallback);
  return text;
}

Value Field::parse(const std::string& text, const std::string& owner) const {
  const auto refuse = [&](const std::string& why) -> UserError {
    return UserError(owner + ": " + name + "=" + text + " " + why + " (expected " + range_text() + ")");
  };
  if (type == Type::kInt || type == Type::kReal) {
    double number = 0;
    int64_t whole = 0;
    const bool is_whole = read_number(text, whole);
    if (is_whole) {
      number = static_cast<double>(whole);
    } else if (!read_number(text, number) || std::isnan(number)) {
      throw refuse("is not a number");
    }
    if (type == Type::kInt && !is_whole) throw refuse("is not an integer");
    if (number < least || number > most) throw refuse("is out of range");
    if (type == Type::kInt) return whole;
    return number;
  }
  if (text.empty()) throw refuse("is empty");
  if (!choices.empty()) {
    for (const std::string& choice : choices) {
      if (choice == text) return text;
    }
    throw refuse("is not known");
  }
  return text;
}

Field int_field(std::string name, Value fallback, int64_t least, int64_t most, std::string help) {
  return {std::move(name),
          Field::Type::kInt,
          std::move(fallback),
          static_cast<double>(least),
          static_cast<double>(most),
          {},
          std::move(help)};
}

Field real_field(std::string name, Value fallback, double least, double most, std::string help) {
  return {std::move(name), Field::Type::kReal, std::move(fallback), least, most, {}, std::move(help)};
}

Field name_field(std::string name, Value fallback, std::vector<std::string> choices, std::string help) {
  Field field;
  field.name = std::move(name);
  field.type = Field::Type::kName;
  field.fallback = std::move(fallback);
  field.choices = std::move(choices);
  field.help = std::move(help);
  return field;
}

Field path_field(std::string name, std::string help) {
  Field field;
  field.name = std::move(name);
  field.type = Field::Type::kPath;
  field.help = std::move(help);
  return field;
}

const Field* find_field(const FieldList& fields, const std::string& name) {
  for (const Field& field : fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

Values::Values(const FieldList& fields) {
  for (const Field& field : fields) values_[field.name] = field.fallback;
}

const Value& Values::at(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) throw InternalError("no parameter named " + name);
  return found->second;
}

bool Values::given(const std::string& name) const {
  const auto found = values_.find(name);
  return found != values_.end() && !std::holds_alternative<std::monostate>(found->second);
}

int64_t Values::integer(const std::string& name) const {
  return std::get<int64_t>(at(name));
}

double Values::real(const std::string& name) const {
  const Value& value = at(name);
  if (auto* i = std::get_if<int64_t>(&value)) return static_cast<double>(*i);
  return std::get<double>(value);
}

const std::string& Values::text(const std::string& name) const {
  return std::get<std::string>(at(name));
}

}  // namespace kvlab
