// From a parsed recipe to a MethodSpec: looks parts up, checks every argument, fills in defaults.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "cache/resolve.h"

namespace kvlab {

namespace {

std::string folded(const std::string& name) {
  std::string result;
  for (char c : name) {
    if (c != '_' && c != '-') result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

}  // namespace

bool same_name(const std::string& a, const std::string& b) {
  return folded(a) == folded(b);
}

namespace {

bool is_no_compression(const std::string& name) {
  const std::string key = folded(name);
  return key == "none" || key == "nopress" || key == "baseline";
}

[[noreturn]] void unknown_method(const std::string& name) {
  std::vector<std::string> known = {"none", kTwoPhase};
  for (const auto* info : registry_named()) known.push_back(info->name);
  for (const auto* info : registry_scorers()) known.push_back(info->name);
  for (const auto* info : registry_wrappers()) known.push_back(info->name);
  for (const auto* info : registry_codecs()) known.push_back(info->name);
  const std::string near = nearest_name(name, known);
  throw UserError("unknown method '" + name + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?") +
                  " (`kvlab list` shows all)");
}

[[noreturn]] void unknown_parameter(const MethodSpec& spec, const std::string& key) {
  const ScorerInfo& scorer = *spec.scorer;
  std::vector<std::string> known;
  for (const WrapperSpec& wrapper : spec.wrappers) {
    for (const Field& field : wrapper.info->fields) known.push_back(field.name);
  }
  for (const Field& field : scorer.fields) known.push_back(field.name);
  for (const Field& field : shared_recipe_fields()) known.push_back(field.name);
  for (const auto* budget : registry_budgets()) known.push_back(budget->name);
  const std::string near = nearest_name(key, known);
  const std::string owner = spec.wrappers.empty() ? "" : spec.wrappers.back().info->name + "(of=";
  throw UserError(owner + scorer.name + (owner.empty() ? "" : ")") + " has no parameter '" + key + "'" +
                  (near.empty() ? "" : "; did you mean '" + near + "'?"));
}

[[noreturn]] void refuse_budget(const ScorerInfo& scorer, const std::string& key) {
  throw UserError(scorer.name + " takes no " + key + ": " + scorer.no_budget + "; leave it out");
}

void set_budget(MethodSpec& spec, const BudgetInfo* budget, double value) {
  if (spec.policy.budget) {
    throw UserError(spec.scorer->name + ": two budgets, '" + spec.policy.budget->name + "' and '" +
                    budget->name +
                    "'; give exactly one of threshold, keep, size, bytes, free_density, budget, layers");
  }
  spec.policy.budget = budget;
  spec.policy.value = value;
}

const BudgetInfo* budget_named(const std::string& name) {
  const BudgetInfo* budget = find_part(registry_budgets(), name);
  KVLAB_CHECK(budget);
  return budget;
}

void read_table(MethodSpec& spec, const BudgetInfo& from, const std::string& text) {
  HeadBudgets read = from.read(text);
  read.parameter = from.name;
  const auto table = std::make_shared<const HeadBudgets>(std::move(read));
  const double sum = std::accumulate(table->values.begin(), table->values.end(), 0.0);
  set_budget(spec, budget_named(table->budget), sum / static_cast<double>(table->values.size()));
  spec.policy.table = table;
}

// What a scorer part's arguments say; unset where they say nothing.
struct Written {
  std::optional<int64_t> sinks, window, every;
};

Written read_arguments(MethodSpec& spec, const RecipePart& part, Phase phase) {
  Written written;
  spec.policy.at_context = phase == Phase::kContext;
  for (const auto& [key, text] : part.arguments) {
    if (const Field* own = find_field(spec.scorer->fields, key)) {
      spec.values.set(key, own->parse(text, part.name));
      continue;
    }
    if (const BudgetInfo* budget = find_part(registry_budgets(), key); budget && budget->name == key) {
      if (!spec.scorer->no_budget.empty()) refuse_budget(*spec.scorer, key);
      const Value value = budget->field.parse(text, part.name);
      if (budget->read) {
        read_table(spec, *budget, std::get<std::string>(value));
        continue;
      }
      set_budget(spec, budget,
                 std::holds_alternative<int64_t>(value) ? static_cast<double>(std::get<int64_t>(value))
                                                        : std::get<double>(value));
      continue;
    }
    const Field* shared = find_field(shared_recipe_fields(), key);
    if (!shared) unknown_parameter(spec, key);
    if (!spec.scorer->no_budget.empty() && key != "seed" && key != "model") refuse_budget(*spec.scorer, key);
    const Value value = shared->parse(text, part.name);
    if (key == "sinks") written.sinks = std::get<int64_t>(value);
    if (key == "window") written.window = std::get<int64_t>(value);
    if (key == "every") written.every = std::get<int64_t>(value);
    if (key == "at") {
      if (phase == Phase::kDecode)
        throw UserError(part.name + ": decode= acts while the session streams; leave 'at' out");
      spec.policy.at_context = true;
    }
    if (key == "compression_ratio") {
      const double ratio = std::holds_alternative<int64_t>(value)
                               ? static_cast<double>(std::get<int64_t>(value))
                               : std::get<double>(value);
      set_budget(spec, budget_named("keep"), 1 - ratio);
    }
    if (key == "seed") {
      if (!spec.scorer->seeded) throw UserError(part.name + " draws no random numbers; leave 'seed' out");
      spec.seed = static_cast<uint64_t>(std::get<int64_t>(value));
      spec.seed_given = true;
    }
    if (key == "model") {
      if (!spec.scorer->learned) throw UserError(part.name + " has no model; leave 'model' out");
      spec.model_path = std::get<std::string>(value);
    }
  }
  if (spec.scorer->kind == ScorerKind::kContext) {
    if (phase == Phase::kDecode)
      throw UserError(part.name + " needs a whole context; it can be context=, but not decode=");
    if (written.every)
      throw UserError(part.name + " needs a whole context and acts once, at its end; leave 'every' out");
    spec.policy.at_context = true;
  }
  if (written.every && phase == Phase::kContext)
    throw UserError(part.name + ": context= acts once, at the end of the context; leave 'every' out");
  if (written.every && spec.policy.at_context)
    throw UserError(part.name + ": 'every' and 'at=context' exclude each other");
  return written;
}

void default_budget(MethodSpec& spec, const Written& written, const RecipeDefaults& defaults) {
  if (spec.policy.budget) return;
  const ScorerInfo& scorer = *spec.scorer;
  if (!scorer.no_budget.empty()) {
    spec.policy.by_plan = true;
    return;
  }
  if (scorer.size_from_protection && (written.sinks || written.window)) {
    const int64_t sinks = written.sinks.value_or(defaults.sinks.value_or(scorer.sinks));
    const int64_t window = written.window.value_or(defaults.window.value_or(128));
    set_budget(spec, budget_named("size"), static_cast<double>(std::max<int64_t>(1, sinks + window)));
    spec.policy.window = window;
    return;
  }
  for (const auto& [name, value] : defaults.thresholds) {
    if (name == scorer.name && spec.wrappers.empty())
      return set_budget(spec, budget_named("threshold"), value);
  }
  for (const auto& [name, value] : defaults.densities) {
    if (name == scorer.name) return set_budget(spec, budget_named("free_density"), value);
  }
  if (scorer.name == "kvzap" && defaults.kvzap_threshold && spec.wrappers.empty()) {
    return set_budget(spec, budget_named("threshold"), *defaults.kvzap_threshold);
  }
  set_budget(spec, budget_named("keep"), defaults.keep);
}

void default_protection(MethodSpec& spec, const Written& written, const RecipeDefaults& defaults) {
  const ScorerInfo& scorer = *spec.scorer;
  Policy& policy = spec.policy;
  policy.rule = scorer.window;
  if (policy.by_plan) return;
  // Scoring everything anew after each token is slow, and periodic methods were made to act now and then.
  const int64_t usual_every = scorer.kind == ScorerKind::kPeriodic ? 128 : 1;
  policy.every = written.every.value_or(defaults.every.value_or(usual_every));
  const int64_t usual_sinks = policy.at_context ? scorer.context_sinks : scorer.sinks;
  policy.sinks = written.sinks.value_or(defaults.sinks.value_or(usual_sinks));
  if (policy.window) return;
  if (written.window) {
    policy.window = written.window;
  } else if (defaults.window) {
    policy.window = defaults.window;
  } else if (policy.at_context) {
    policy.window = scorer.context_window;
  }
}

// `where` says which head's policy this is, for tables of budgets.
void check_size(const MethodSpec& spec, const Policy& policy, const std::string& where = "") {
  const auto size = static_cast<int64_t>(policy.value);
  const int64_t window = policy.window_at(size);  // does not move with the length under a size
  if (size >= policy.sinks + window) return;
  throw UserError(spec.scorer->name + ": size=" + std::to_string(size) + where +
                  " is below sinks + window = " + std::to_string(policy.sinks) + " + " +
                  std::to_string(window) + "; raise size or lower the protection");
}

void check_budget(const MethodSpec& spec) {
  const Policy& policy = spec.policy;
  if (policy.by_plan) return;
  if (policy.threshold() && !spec.scorer->no_threshold.empty()) {
    throw UserError(spec.scorer->name + " takes no threshold: " + spec.scorer->no_threshold +
                    "; give keep, size, bytes or free_density");
  }
  if (policy.budget->name != "size") return;
  if (!policy.table) return check_size(spec, policy);
  for (int layer = 0; layer < policy.table->layers; ++layer) {
    for (int head = 0; head < policy.table->heads; ++head) {
      check_size(spec, policy.of_head(layer, head),
                 " (" + policy.table->source + ", layer " + std::to_string(layer) +
                     (policy.table->heads == 1 ? ")" : ", head " + std::to_string(head) + ")"));
    }
  }
}

template <typename Add>
void add_policy(const Policy& policy, const Add& add) {
  if (policy.table) {
    add(policy.table->parameter, policy.table->written);
  } else if (policy.budget->field.type == Field::Type::kInt) {
    add(policy.budget->name, static_cast<int64_t>(policy.value));
  } else {
    add(policy.budget->name, policy.value);
  }
  add("sinks", policy.sinks);
  if (policy.window) add("window", *policy.window);
  if (policy.at_context) {
    add("at", std::string("context"));
  } else {
    add("every", policy.every);
  }
}

// One phase with everything that decides the result written out.
RecipePart canonical_part(const MethodSpec& spec) {
  RecipePart part;
  if (spec.dense()) {
    part.name = "none";
    return part;
  }
  part.name = spec.scorer->name;
  RecipePart shared;
  const auto add_to = [](RecipePart& to) {
    return [&to](const std::string& key, const Value& value) {
      std::string text = to_text(value);
      if (text.size() >= 2 && text.front() == '"') text = text.substr(1, text.size() - 2);
      to.arguments.emplace_back(key, std::move(text));
    };
  };
  const auto add = add_to(part);
  if (!spec.policy.by_plan) add_policy(spec.policy, add_to(shared));
  for (const Field& field : spec.scorer->fields) {
    if (spec.values.given(field.name)) add(field.name, spec.values.all().at(field.name));
  }
  if (spec.scorer->seeded) add("seed", static_cast<int64_t>(spec.seed));
  if (!spec.model_path.empty()) add("model", spec.model_path);
  return print_wrapped(spec, std::move(part), std::move(shared));
}

// The scorer that a recipe's parameters name, where several kinds share one name.
const ScorerInfo& form_written(const ScorerInfo& named, const RecipePart& part) {
  for (const ScorerInfo* form : registry_scorers()) {
    if (form->form_of != named.name) continue;
    const auto gives = [&](const auto& argument) { return argument.first == form->form_parameter; };
    if (std::none_of(part.arguments.begin(), part.arguments.end(), gives)) continue;
    for (const auto& [key, value] : part.arguments) {
      if (!find_field(named.fields, key)) continue;
      throw UserError(part.name + " takes either " + key + " or " + form->form_parameter + ", not both");
    }
    return *form;
  }
  return named;
}

// The title of a named recipe, else the scorer's with the arguments as written; then the codec.
std::string display_name(const Recipe& recipe, const MethodSpec& spec, const std::string& title) {
  std::string text = title;
  if (title.empty()) {
    const std::string written = print_recipe({{recipe.parts.front()}});
    const WrapperInfo* outer = find_part(registry_wrappers(), recipe.parts.front().name);
    text = (outer ? outer->title : spec.scorer->title) +
           written.substr(std::min(written.size(), recipe.parts.front().name.size()));
  }
  for (size_t p = 1; p < recipe.parts.size(); ++p) text += "+" + print_recipe({{recipe.parts[p]}});
  return text;
}

}  // namespace

void add_codec(MethodSpec& spec, const RecipePart& part) {
  const CodecInfo* codec = find_part(registry_codecs(), part.name);
  if (!codec) {
    if (find_part(registry_scorers(), part.name) || find_part(registry_named(), part.name) ||
        find_part(registry_wrappers(), part.name) || same_name(part.name, kTwoPhase)) {
      throw UserError("two scorers in one recipe: '" + part.name +
                      "' may not follow; combine a scorer with a codec");
    }
    unknown_method(part.name);
  }
  if (spec.codec)
    throw UserError("two codecs in one recipe: '" + spec.codec->name + "' and '" + codec->name + "'");
  if (!part.arguments.empty())
    throw UserError(codec->name + " has no parameter '" + part.arguments[0].first + "'");
  spec.codec = codec;
}

std::string canonical(const MethodSpec& spec) {
  Recipe recipe;
  if (spec.context) {
    RecipePart both{kTwoPhase, {}, true};
    both.arguments.emplace_back("context", print_recipe({{canonical_part(*spec.context)}}));
    both.arguments.emplace_back("decode", print_recipe({{canonical_part(spec)}}));
    recipe.parts.push_back(std::move(both));
  } else {
    recipe.parts.push_back(canonical_part(spec));
  }
  if (spec.codec) recipe.parts.push_back({spec.codec->name, {}, false});
  return print_recipe(recipe);
}

const FieldList& shared_recipe_fields() {
  static const FieldList fields = {
      int_field("sinks", {}, 0, 1 << 20, "first tokens that are never evicted"),
      int_field("window", {}, 0, 1 << 30, "newest tokens that are protected"),
      int_field("every", {}, 1, 1 << 30, "tokens between two actions of the budget"),
      name_field("at", {}, {"context"}, "act once, at the end of the context, and never again"),
      int_field("seed", {}, 0, int64_t{1} << 53, "seed of random scores"),
      path_field("model", "folder of a learned scorer (config.json, model.safetensors)"),
      real_field("compression_ratio", {}, 0, 1, "fraction evicted: the same as keep = 1 - compression_ratio"),
  };
  return fields;
}

MethodSpec no_compression() {
  MethodSpec spec;
  spec.display = "Baseline";
  spec.recipe = "none";
  return spec;
}

MethodSpec resolve_recipe(const std::string& text, const RecipeDefaults& defaults) {
  Recipe recipe = parse_recipe(text);
  if (same_name(recipe.parts[0].name, kTwoPhase)) return resolve_two_phase(recipe, defaults);
  return resolve_phase(std::move(recipe), defaults, Phase::kOnly);
}

MethodSpec resolve_phase(Recipe recipe, const RecipeDefaults& defaults, Phase phase) {
  std::string title;
  if (const NamedInfo* named = find_part(registry_named(), recipe.parts[0].name)) {
    if (recipe.parts[0].arguments.empty()) title = named->title;
    expand_name(*named, recipe.parts[0]);
  }
  MethodSpec spec = no_compression();
  const RecipePart first = take_wrappers(recipe.parts.front(), spec.wrappers);
  if (is_no_compression(first.name)) {
    if (!first.arguments.empty()) throw UserError("'" + first.name + "' takes no parameters");
    for (size_t p = 1; p < recipe.parts.size(); ++p) add_codec(spec, recipe.parts[p]);
    if (spec.codec) spec.display = spec.recipe = "none+" + spec.codec->name;
    return spec;
  }
  spec.scorer = find_part(registry_scorers(), first.name);
  if (!spec.scorer) {
    if (find_part(registry_codecs(), first.name)) {
      throw UserError("'" + first.name + "' only says how entries are stored; write 'none+" + first.name +
                      "'");
    }
    unknown_method(first.name);
  }
  spec.scorer = &form_written(*spec.scorer, first);
  spec.values = Values(spec.scorer->fields);
  spec.seed = defaults.seed;
  const Written written = read_arguments(spec, first, phase);
  add_implied_wrappers(spec);
  for (size_t p = 1; p < recipe.parts.size(); ++p) add_codec(spec, recipe.parts[p]);
  default_budget(spec, written, defaults);
  default_protection(spec, written, defaults);
  if (spec.scorer->name == "kvzap" && spec.model_path.empty()) spec.model_path = defaults.scorer_model;
  check_budget(spec);
  check_wrappers(spec);
  spec.recipe = canonical(spec);
  spec.display = display_name(recipe, spec, title);
  return spec;
}

}  // namespace kvlab
