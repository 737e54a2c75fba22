// kvlab diff: rows of two stored comparisons held against each other on the same tokens.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "cache/recipe.h"
#include "cli/command.h"
#include "cli/common.h"
#include "reports/grid.h"
#include "reports/number_text.h"
#include "results/row_difference.h"

namespace kvlab {

namespace {

struct Flags {
  std::string a, b, rows;
  bool different_models = false, json = false;
};

struct Pair {
  const StoredRow* a;
  const StoredRow* b;
  RowDifference difference;
  std::optional<double> p_holm;
};

bool ran(const StoredRow& row) {
  return !row.documents.empty();
}

// The row that a recipe or a name means: as written, else by its canonical text.
const StoredRow& find_row(const StoredRun& run, const std::string& text) {
  const auto find = [&](const std::string& wanted) -> const StoredRow* {
    for (const StoredRow& row : run.rows) {
      if (row.recipe == wanted || row.name == wanted) return &row;
    }
    return nullptr;
  };
  const StoredRow* row = find(text);
  if (!row) row = find(resolve_recipe(text, {}).recipe);
  if (!row) {
    std::string known;
    for (const StoredRow& other : run.rows) known += (known.empty() ? "" : " ") + other.recipe;
    throw UserError(run.file.string() + " has no row '" + text + "'; its rows are " + known);
  }
  if (!ran(*row)) {
    throw UserError(run.file.string() + ": row '" + row->name + "' is " + row->status +
                    ", so there is nothing to compare");
  }
  return *row;
}

std::vector<Pair> chosen_rows(const StoredRun& a, const StoredRun& b, const std::string& rows) {
  const std::vector<std::string> names = split_recipes(rows);
  if (names.size() != 2) {
    throw UserError(fmt::format("--rows '{}' names {} rows (expected two recipes: one of A, one of B)", rows,
                                names.size()));
  }
  const StoredRow &row_a = find_row(a, names[0]), &row_b = find_row(b, names[1]);
  return {{&row_a, &row_b, row_difference(row_a, row_b), {}}};
}

// Rows with the same recipe, in A's order; the first of a recipe in A with the first in B, and so on.
std::vector<Pair> common_rows(const StoredRun& a, const StoredRun& b) {
  std::vector<Pair> pairs;
  std::vector<const StoredRow*> taken;
  for (const StoredRow& row : a.rows) {
    const auto match = std::find_if(b.rows.begin(), b.rows.end(), [&](const StoredRow& other) {
      return other.recipe == row.recipe && std::find(taken.begin(), taken.end(), &other) == taken.end();
    });
    if (match == b.rows.end()) continue;
    taken.push_back(&*match);
    if (ran(row) && ran(*match)) pairs.push_back({&row, &*match, row_difference(row, *match), {}});
  }
  if (pairs.empty()) {
    throw UserError(a.file.string() + " and " + b.file.string() +
                    " have no recipe in common; --rows RECIPE_OF_A,RECIPE_OF_B compares two that differ");
  }
  return pairs;
}

void adjust(std::vector<Pair>& pairs) {
  std::vector<std::optional<double>> p;
  for (const Pair& pair : pairs) {
    const auto& interval = pair.difference.interval;
    p.push_back(interval ? std::optional(interval->inference.p) : std::nullopt);
  }
  const auto adjusted = holm(p);
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i].p_holm = adjusted[i];
}

std::string pair_name(const Pair& pair) {
  return pair.a->name == pair.b->name ? pair.a->name : pair.a->name + " | " + pair.b->name;
}

// Empty where both ran and did their work.
std::string status_text(const Pair& pair) {
  if (pair.a->status == "OK" && pair.b->status == "OK") return "";
  return pair.a->status + " | " + pair.b->status;
}

std::string interval_text(const RowDifference& difference) {
  if (!difference.interval) return "—";
  const auto& [low, high] = difference.interval->inference.ci95;
  return "[" + number_text(low, {4, true}, "—") + ", " + number_text(high, {4, true}, "—") + "]";
}

void print_table(const std::vector<Pair>& pairs) {
  Column names{"Row", {}, false}, a{"NLL A", {}}, b{"NLL B", {}}, delta{"ΔNLL B − A", {}},
      interval{"95%", {}, false}, p{"p (Holm)", {}}, percent{"ΔPPL %", {}}, status{"status", {}, false};
  for (const Pair& pair : pairs) {
    const RowDifference& d = pair.difference;
    names.cells.push_back(pair_name(pair));
    a.cells.push_back(number_text(d.nll_a, {4}, "—"));
    b.cells.push_back(number_text(d.nll_b, {4}, "—"));
    delta.cells.push_back(number_text(d.delta_nll, {4, true}, "—"));
    interval.cells.push_back(interval_text(d));
    p.cells.push_back(number_text(pair.p_holm, {4}, "—"));
    status.cells.push_back(status_text(pair));
    percent.cells.push_back(number_text(100 * std::expm1(d.delta_nll), {3, true}, "—"));
  }
  std::vector<Column> columns = {names, a, b, delta, interval, p, percent};
  const auto has_text = [](const std::string& cell) { return !cell.empty(); };
  if (std::any_of(status.cells.begin(), status.cells.end(), has_text)) columns.push_back(status);
  fmt::print("{}", grid_text(columns, static_cast<size_t>(terminal_width()), "─"));
  for (const Pair& pair : pairs) {
    if (!pair.difference.interval) continue;
    fmt::print("\n95% intervals: {}\n", pair.difference.interval->method);  // the same for all rows
    break;
  }
}

void print_run(const char* letter, const StoredRun& run, int64_t compared) {
  fmt::print("{}  {}: {}, {} of {} documents\n", letter, run.file.string(), run.model, compared,
             run.documents);
}

nlohmann::ordered_json run_json(const StoredRun& run) {
  return {{"file", run.file.string()},
          {"model", run.model},
          {"model_hash", run.model_hash ? nlohmann::ordered_json(*run.model_hash) : nullptr},
          {"data_path", run.data_path}};
}

nlohmann::ordered_json pair_json(const Pair& pair) {
  const RowDifference& d = pair.difference;
  nlohmann::ordered_json json = {
      {"row_a", pair.a->recipe},    {"row_b", pair.b->recipe},
      {"status_a", pair.a->status}, {"status_b", pair.b->status},
      {"documents", d.documents},   {"tokens_scored", static_cast<int64_t>(d.tokens)},
      {"nll_a", d.nll_a},           {"nll_b", d.nll_b},
      {"delta_nll", d.delta_nll},   {"delta_ppl_percent", 100 * std::expm1(d.delta_nll)},
      {"delta_nll_ci95", nullptr},  {"ci_method", nullptr},
      {"p_holm", nullptr}};
  if (d.interval) {
    json["delta_nll_ci95"] = {d.interval->inference.ci95.low, d.interval->inference.ci95.high};
    json["ci_method"] = d.interval->method;
    json["p_holm"] = *pair.p_holm;
  }
  return json;
}

void print_json(const StoredRun& a, const StoredRun& b, const std::vector<Pair>& pairs) {
  nlohmann::ordered_json json = {{"a", run_json(a)},
                                 {"b", run_json(b)},
                                 {"token_set", a.token_set},
                                 {"differing_settings", differing_settings(a, b)}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const Pair& pair : pairs) json["rows"].push_back(pair_json(pair));
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

int run(const Flags& f) {
  const StoredRun a = read_stored_run(f.a), b = read_stored_run(f.b);
  require_same_tokens(a, b);
  if (!f.different_models) require_same_model(a, b);
  std::vector<Pair> pairs = f.rows.empty() ? common_rows(a, b) : chosen_rows(a, b, f.rows);
  adjust(pairs);
  if (f.json) {
    print_json(a, b, pairs);
    return 0;
  }
  print_run("A", a, pairs[0].difference.documents);
  print_run("B", b, pairs[0].difference.documents);
  fmt::print("token set {}, {:.0f} tokens scored\n", a.token_set, pairs[0].difference.tokens);
  for (const std::string& line : differing_settings(a, b)) fmt::print("differs: {}\n", line);
  fmt::print("\n");
  print_table(pairs);
  return 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_diff;
const CommandInfo kCommandInfo_diff = {
    "diff", "compare rows of two results of `kvlab compare` over the same tokens",
    "  kvlab diff results_f32/ results_bf16/\n"
    "  kvlab diff results/ results/ --rows 'h2o(size=512),tova(size=512)'\n",
    [](CLI::App& app) -> std::function<int()> {
      auto flags = std::make_shared<Flags>();
      app.add_option("A", flags->a, "folder of `kvlab compare`, or its detailed_results.json")->required();
      app.add_option("B", flags->b, "the same of another run; differences are B minus A")->required();
      app.add_option("--rows", flags->rows,
                     "two recipes, one of A and one of B [every recipe that both have]");
      app.add_flag("--allow_different_models", flags->different_models,
                   "compare runs of different models; their token ids must be the same");
      app.add_flag("--json", flags->json, "as JSON");
      return [flags] { return run(*flags); };
    }};

}  // namespace kvlab
