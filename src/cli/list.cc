// kvlab list: every method, wrapper, budget and codec with its parameters and paper, from their descriptors.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cache/recipe.h"
#include "cli/command.h"
#include "cli/common.h"

namespace kvlab {

namespace {

constexpr const char* kTwoPhaseRecipe = "two_phase(context=METHOD,decode=METHOD)";
constexpr const char* kTwoPhaseSummary =
    "one method acts once, at the end of the context, the other from there on; either may be none";

std::string default_protection(const ScorerInfo& info) {
  if (!info.no_budget.empty())
    return (find_field(info.fields, "sinks") ? "by its own parameters: " : "nothing: ") + info.no_budget;
  const char* window = info.window == WindowRule::kOne    ? "the current token"
                       : info.window == WindowRule::kNone ? "0"
                       : info.window == WindowRule::kHalf
                           ? "half the budget (512 with threshold or free_density)"
                           : "min(128, half the budget) (128 with threshold or free_density)";
  return fmt::format("sinks {}, window {}", info.sinks, window);
}

std::string budget_names(const ScorerInfo& info) {
  if (!info.no_budget.empty()) return "none: " + info.no_budget;
  std::string text;
  for (const BudgetInfo* budget : registry_budgets()) {
    if (budget->threshold && !info.no_threshold.empty()) continue;
    text += (text.empty() ? "" : ", ") + budget->name;
  }
  return text;
}

void print_fields(const FieldList& fields) {
  for (const Field& field : fields)
    fmt::print("    {:<14}{} ({})\n", field.name, field.help, field.range_text());
}

// What a wrapper's recipe may not say; "" when it may say anything.
std::string refusals(const WrapperInfo& info) {
  std::string text;
  const auto add = [&](const std::string& reason) { text += (text.empty() ? "" : "; ") + reason; };
  if (!info.no_threshold.empty()) add("no threshold: " + info.no_threshold);
  if (!info.context_only.empty()) add("only at=context: " + info.context_only);
  if (info.of_attention) add("only around scores that are attention weights");
  if (info.compares_heads) add("streaming only around scores that heads have in common");
  return text;
}

void print_wrappers() {
  fmt::print(
      "Wrappers (name(of=METHOD,parameter=value,...); they nest, and what they do not know goes to "
      "METHOD):\n\n");
  for (const WrapperInfo* info : registry_wrappers()) {
    fmt::print("  {} - {}\n    {:<14}{}\n    {:<14}{}\n", info->name, info->summary, "rule", info->formula,
               "paper", info->paper);
    fmt::print("    {:<14}what it stands around ({} unless given)\n", "of", info->of);
    if (const std::string text = refusals(*info); !text.empty()) fmt::print("    {:<14}{}\n", "but", text);
    print_fields(info->fields);
    fmt::print("\n");
  }
}

void print_text() {
  fmt::print("Methods (name(parameter=value,...); combine with a codec by '+'):\n\n");
  for (const ScorerInfo* info : registry_scorers()) {
    fmt::print("  {} - {}\n", info->name, info->summary);
    fmt::print("    {:<14}{}\n    {:<14}{}\n    {:<14}{}\n    {:<14}{}\n    {:<14}{}\n", "kind",
               scorer_kind_name(info->kind), "formula", info->formula, "budgets", budget_names(*info),
               "protects", default_protection(*info), "paper", info->paper);
    if (info->no_budget.empty() && !info->no_threshold.empty())
      fmt::print("    {:<14}{}\n", "no threshold", info->no_threshold);
    print_fields(info->fields);
    fmt::print("\n");
  }
  print_wrappers();
  fmt::print("Two phases:\n\n  {}\n    {}\n\n", kTwoPhaseRecipe, kTwoPhaseSummary);
  fmt::print("Named recipes:\n\n");
  for (const NamedInfo* info : registry_named())
    fmt::print("  {} = {}\n    {}\n", info->name, info->recipe, info->summary);
  fmt::print("\nBudgets (one at most; without any, keep = 1 - compression_ratio, 0.5 by default):\n\n");
  for (const BudgetInfo* info : registry_budgets())
    fmt::print("  {:<14}{} ({})\n", info->name, info->summary, info->field.range_text());
  fmt::print("\nCodecs:\n\n");
  for (const CodecInfo* info : registry_codecs()) fmt::print("  {:<14}{}\n", info->name, info->summary);
  fmt::print("\nEvery method also takes (seed: random methods only, model: learned ones only):\n\n");
  print_fields(shared_recipe_fields());
}

nlohmann::ordered_json fields_json(const FieldList& fields) {
  auto json = nlohmann::ordered_json::array();
  for (const Field& field : fields) {
    json.push_back({{"name", field.name},
                    {"default", to_json(field.fallback)},
                    {"range", field.range_text()},
                    {"help", field.help}});
  }
  return json;
}

void print_json() {
  nlohmann::ordered_json json;
  for (const ScorerInfo* info : registry_scorers()) {
    nlohmann::ordered_json entry = {{"name", info->name},
                                    {"title", info->title},
                                    {"kind", scorer_kind_name(info->kind)},
                                    {"summary", info->summary},
                                    {"formula", info->formula},
                                    {"paper", info->paper},
                                    {"sinks", info->sinks},
                                    {"takes_threshold", info->no_threshold.empty()}};
    entry["takes_budget"] = info->no_budget.empty();
    entry["why_no_threshold"] =
        info->no_threshold.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(info->no_threshold);
    entry["protects"] = default_protection(*info);
    entry["seeded"] = info->seeded;
    entry["learned"] = info->learned;
    entry["non_causal"] = info->non_causal;
    entry["parameters"] = fields_json(info->fields);
    json["methods"].push_back(entry);
  }
  for (const WrapperInfo* info : registry_wrappers())
    json["wrappers"].push_back({{"name", info->name},
                                {"title", info->title},
                                {"summary", info->summary},
                                {"formula", info->formula},
                                {"paper", info->paper},
                                {"of", info->of},
                                {"refuses", refusals(*info)},
                                {"streams", info->context_only.empty()},
                                {"takes_threshold", info->no_threshold.empty()},
                                {"parameters", fields_json(info->fields)}});
  for (const NamedInfo* info : registry_named())
    json["named"].push_back({{"name", info->name},
                             {"title", info->title},
                             {"recipe", info->recipe},
                             {"summary", info->summary},
                             {"paper", info->paper}});
  json["two_phase"] = {{"recipe", kTwoPhaseRecipe}, {"summary", kTwoPhaseSummary}};
  for (const BudgetInfo* info : registry_budgets())
    json["budgets"].push_back({{"name", info->name},
                               {"summary", info->summary},
                               {"range", info->field.range_text()},
                               {"threshold", info->threshold}});
  for (const CodecInfo* info : registry_codecs())
    json["codecs"].push_back({{"name", info->name}, {"summary", info->summary}});
  json["shared_parameters"] = fields_json(shared_recipe_fields());
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

extern const CommandInfo kCommandInfo_list;
const CommandInfo kCommandInfo_list = {"list", "print the methods with their parameters and papers",
                                       "  kvlab list\n  kvlab list --json\n",
                                       [](CLI::App& app) -> std::function<int()> {
                                         auto json = std::make_shared<bool>(false);
                                         app.add_flag("--json", *json, "as JSON");
                                         return [json] {
                                           *json ? print_json() : print_text();
                                           return 0;
                                         };
                                       }};

}  // namespace kvlab
