// One list of parameters per part (name, default, range, meaning). Parsing, range errors, help, documentation
// and JSON all come from it, so that a parameter is written down exactly once.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

namespace kvlab {

// A parameter's value. std::monostate means "not given and no default": the part decides.
using Value = std::variant<std::monostate, int64_t, double, std::string>;

// A value as it is written in a recipe: 0.5, 128, mlp, "a path".
std::string to_text(const Value& value);
nlohmann::ordered_json to_json(const Value& value);

struct Field {
  enum class Type { kInt, kReal, kName, kPath };
  std::string name;
  Type type = Type::kReal;
  Value fallback;  // the default; monostate: none
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;  // for kName; empty: any
  std::string help;

  // Reads `text` for this field. Throws UserError naming `owner`, the field, the value and the range.
  Value parse(const std::string& text, const std::string& owner) const;
  // "integer 0..64, default 4"
  std::string range_text() const;
};

using FieldList = std::vector<Field>;

Field int_field(std::string name, Value fallback, int64_t least, int64_t most, std::string help);
Field real_field(std::string name, Value fallback, double least, double most, std::string help);
Field name_field(std::string name, Value fallback, std::vector<std::string> choices, std::string help);
Field path_field(std::string name, std::string help);

const Field* find_field(const FieldList& fields, const std::string& name);

// Values by parameter name, filled with the defaults of a field list. Typed getters check that the field
// exists.
class Values {
 public:
  Values() = default;
  explicit Values(const FieldList& fields);

  bool given(const std::string& name) const;  // has a value, from the user or a default
  int64_t integer(const std::string& name) const;
  double real(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  void set(const std::string& name, Value value) { values_[name] = std::move(value); }
  const std::map<std::string, Value>& all() const { return values_; }

 private:
  const Value& at(const std::string& name) const;
  std::map<std::string, Value> values_;
};

}  // namespace kvlab
