#include "evals/match.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace kvlab {

namespace {

// Runs that a search for a threshold may take; bisection gains a bit with each.
constexpr int kMostRuns = 40;

// Seven digits say a value exactly enough and read well in a recipe.
double rounded(double value) {
  if (value == 0) return 0;
  const double unit = std::pow(10.0, std::floor(std::log10(std::abs(value))) - 6);
  return std::round(value / unit) * unit;
}

MethodSpec with_value(const MethodSpec& spec, double value) {
  Recipe recipe = parse_recipe(spec.recipe);
  const bool whole = spec.policy.budget->field.type == Field::Type::kInt;
  for (auto& [key, text] : recipe.parts[0].arguments) {
    if (key == spec.policy.budget->name)
      text = whole ? to_text(static_cast<int64_t>(std::llround(value))) : to_text(value);
  }
  MethodSpec changed = resolve_recipe(print_recipe(recipe), {});
  changed.display = spec.display;
  changed.seed_given = spec.seed_given;
  return changed;
}

class Search {
 public:
  Search(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
         const std::vector<TokenDocument>& slice, const MatchOptions& options, Progress& progress)
      : model_(model), spec_(spec), slice_(slice), options_(options), progress_(progress) {}

  MatchedMethod run() {
    MatchedMethod matched{spec_, {}};
    MatchRecord& record = matched.record;
    record.target = options_.target;
    record.reason = why_not();
    if (!record.reason.empty()) return matched;
    record.variable = spec_.policy.budget->name;
    record.feasible = false;
    Policy least = spec_.policy;
    if (!least.threshold()) least.value = least_value();
    record.least = scheduled_seen(least, slice_, options_.run.protocol);
    if (record.least > options_.target * (1 + options_.tolerance)) {
      record.reason = "what is protected is already " + percent(record.least) +
                      " of what dense attention sees, above " + percent(options_.target);
      return matched;
    }
    record.value = spec_.policy.threshold() ? search_threshold()
                   : leaves_fewer()         ? search_measured()
                                            : search_schedule();
    matched.spec = with_value(spec_, record.value);
    record.reached = seen(record.value);
    record.runs = runs_;
    record.feasible = std::abs(record.reached / options_.target - 1) <= options_.tolerance;
    if (!record.feasible) {
      record.reason = "no " + record.variable + " comes within " + percent(options_.tolerance) + " of " +
                      percent(options_.target) + ": the nearest shows " + percent(record.reached);
    }
    return matched;
  }

 private:
  static std::string percent(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f%%", 100 * x);
    return text;
  }

  std::string why_not() const {
    if (spec_.dense()) return "compresses nothing";
    if (!spec_.policy.budget) return "has no budget to move";
    const Recipe recipe = parse_recipe(spec_.recipe);
    const auto& arguments = recipe.parts[0].arguments;
    const bool has = std::any_of(arguments.begin(), arguments.end(),
                                 [&](const auto& a) { return a.first == spec_.policy.budget->name; });
    return has ? "" : "has no single budget to move";
  }

  // The smallest value that the budget takes with this recipe's protection.
  double least_value() const {
    const Policy& policy = spec_.policy;
    if (policy.budget->field.type != Field::Type::kInt) return std::max(0.0, policy.budget->field.least);
    for (int64_t size = 1;; ++size) {
      Policy tried = policy;
      tried.value = static_cast<double>(size);
      if (size >= tried.sinks + tried.window_at(size)) return tried.value;
    }
  }

  int64_t token_bytes() const {
    return dense_cache_bytes(shape_of(model_->config()), 1, options_.run.kv_type);
  }

  double scheduled(double value) const {
    Policy policy = spec_.policy;
    policy.value = value;
    policy.token_bytes = token_bytes();
    return scheduled_seen(policy, slice_, options_.run.protocol);
  }

  // What is held follows from the schedule alone, whatever the scores say.
  double search_schedule() const {
    const bool whole = spec_.policy.budget->field.type == Field::Type::kInt;
    int64_t longest = 1;
    for (const TokenDocument& document : slice_)
      longest = std::max(longest, static_cast<int64_t>(document.tokens.size()));
    double low = least_value(), high = 1;
    if (whole) high = static_cast<double>(longest);
    if (spec_.policy.budget->bytes) high = static_cast<double>(token_bytes());
    for (int step = 0; step < 60 && high - low > (whole ? 1 : 1e-9 * high); ++step) {
      const double middle = whole ? std::floor((low + high) / 2) : (low + high) / 2;
      (scheduled(middle) < options_.target ? low : high) = middle;
    }
    const double a = whole ? low : rounded(low), b = whole ? high : rounded(high);
    return std::abs(scheduled(a) - options_.target) <= std::abs(scheduled(b) - options_.target) ? a : b;
  }

  // Whether less is held than the schedule says, by how much only runs can tell.
  bool leaves_fewer() const {
    return std::any_of(spec_.wrappers.begin(), spec_.wrappers.end(),
                       [](const WrapperSpec& wrapper) { return wrapper.info->rounds; });
  }

  // The more the budget allows, the more is seen. Starts from what the schedule says.
  double search_measured() {
    const bool whole = spec_.policy.budget->field.type == Field::Type::kInt;
    double low = search_schedule();
    double high = low;
    while (seen(high) < options_.target && runs_ < kMostRuns) {
      low = high;
      high *= 1.1;
      if (!whole) high = rounded(std::min(1.0, high));
      if (whole) high = std::ceil(high);
      if (high == low) return low;
    }
    while (runs_ < kMostRuns) {
      const double middle = whole ? std::floor((low + high) / 2) : rounded((low + high) / 2);
      if (middle == low || middle == high) break;
      if (std::abs(seen(middle) / options_.target - 1) <= options_.tolerance / 2) return middle;
      (seen(middle) < options_.target ? low : high) = middle;
    }
    return std::abs(seen(low) - options_.target) <= std::abs(seen(high) - options_.target) ? low : high;
  }

  // The higher the threshold, the less is seen, but for what evictions in one layer change in the next.
  double search_threshold() {
    double low = spec_.policy.value, high = low;  // sees more than the target, sees less
    double step = std::max(0.25, std::abs(low) / 8);
    while (seen(low) < options_.target && runs_ < kMostRuns) {
      high = low;
      low -= step;
      step *= 2;
    }
    while (seen(high) > options_.target && runs_ < kMostRuns) {
      low = high;
      high += step;
      step *= 2;
    }
    while (runs_ < kMostRuns) {
      const double middle = rounded((low + high) / 2);
      if (middle == low || middle == high) break;
      if (std::abs(seen(middle) / options_.target - 1) <= options_.tolerance / 2) return middle;
      (seen(middle) > options_.target ? low : high) = middle;
    }
    return std::abs(seen(low) - options_.target) < std::abs(seen(high) - options_.target) ? low : high;
  }

  // Measured on the slice.
  double seen(double value) {
    const auto known = measured_.find(value);
    if (known != measured_.end()) return known->second;
    const auto method = make_method(with_value(spec_, value), shape_of(model_->config()));
    double visible = 0, dense = 0;
    for (const TokenDocument& document : slice_) {
      if (stop_requested()) return options_.target;  // ends the search; the caller looks at stop_requested()
      const DocumentResult result = run_document(model_, method, document, options_.run).result;
      visible += result.seen_visible;
      dense += result.seen_dense;
    }
    ++runs_;
    progress_.step(runs_, "runs on the calibration documents");
    return measured_[value] = visible / dense;
  }

  const std::shared_ptr<const Model>& model_;
  const MethodSpec& spec_;
  const std::vector<TokenDocument>& slice_;
  const MatchOptions& options_;
  Progress& progress_;
  std::map<double, double> measured_;
  int runs_ = 0;
};

}  // namespace

double scheduled_seen(const Policy& policy, const std::vector<TokenDocument>& documents,
                      const Protocol& protocol) {
  double visible = 0, dense = 0;
  for (const TokenDocument& document : documents) {
    const auto size = static_cast<int64_t>(document.tokens.size());
    const int64_t first = protocol.kind == Protocol::Kind::kPrefix ? protocol.context - 1 : 0;
    int64_t live = 0;
    for (int64_t n = 1; n < size; ++n) {
      ++live;  // query n - 1 sees what is live, itself included
      if (n > first && document.scored[n]) {
        visible += static_cast<double>(live);
        dense += static_cast<double>(n);
      }
      if (!policy.budget || !(policy.at_context ? n == protocol.context : policy.acts(n))) continue;
      // A token that has left the window never comes back into it, so all protected entries are live.
      const int64_t limit = policy.threshold() ? 0 : policy.limit_at(n);
      live = std::min(live, std::max(limit, policy.protected_at(n)));
    }
  }
  return dense > 0 ? visible / dense : 1;
}

MatchedMethod match_budget(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
                           const std::vector<TokenDocument>& slice, const MatchOptions& options,
                           Progress& progress) {
  return Search(model, spec, slice, options, progress).run();
}

CalibrationSplit split_for_calibration(std::vector<TokenDocument> documents, int64_t count) {
  CalibrationSplit split;
  if (documents.size() == 1 && count == 0) {
    TokenDocument rest = documents[0];
    TokenDocument& slice = documents[0];
    const auto half = static_cast<std::ptrdiff_t>(slice.tokens.size() / 2);
    if (half < 2)
      throw UserError("document '" + slice.id +
                      "' is too short to calibrate on one half and compare on the other");
    slice.tokens.resize(half);
    slice.scored.resize(half);
    rest.tokens.erase(rest.tokens.begin(), rest.tokens.begin() + half);
    rest.scored.erase(rest.scored.begin(), rest.scored.begin() + half);
    rest.scored[0] = 0;  // nothing before it predicts it
    split.slice.push_back(std::move(slice));
    split.rest.push_back(std::move(rest));
    return split;
  }
  const auto all = static_cast<int64_t>(documents.size());
  const int64_t taken = count > 0 ? count : std::max<int64_t>(1, (all + 7) / 8);
  if (taken >= all) {
    throw UserError("calibrating on " + std::to_string(taken) + " of " + std::to_string(all) +
                    " documents leaves none to compare on; lower --match_documents or give more documents");
  }
  const auto cut = documents.begin() + taken;
  split.slice.assign(std::make_move_iterator(documents.begin()), std::make_move_iterator(cut));
  split.rest.assign(std::make_move_iterator(cut), std::make_move_iterator(documents.end()));
  return split;
}

}  // namespace kvlab
