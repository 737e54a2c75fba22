#include "cli/shared_match.h"

#include <charconv>

#include "base/error.h"

namespace kvlab {

std::optional<double> parse_match(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const std::string key = "bytes_seen=";
  double value = 0;
  const char* end = text.data() + text.size();
  const bool known = text.rfind(key, 0) == 0;
  const auto [rest, error] = known ? std::from_chars(text.data() + key.size(), end, value)
                                   : std::from_chars_result{end, std::errc{}};
  if (!known || error != std::errc{} || rest != end || !(value > 0 && value < 1)) {
    throw UserError(
        "--match '" + text +
        "' is not understood (expected bytes_seen=F, 0 < F < 1: the fraction of the bytes that dense "
        "attention reads)");
  }
  return value;
}

std::vector<MethodSpec> control_methods(const RecipeDefaults& defaults, bool matched) {
  const std::string keep = to_text(defaults.keep);
  const auto control = [&](const std::string& recipe, const std::string& name) {
    RecipeDefaults every_only;
    every_only.every = defaults.every;
    MethodSpec spec = resolve_recipe(recipe, every_only);
    spec.display = name;
    return spec;
  };
  return {
      control("oracle(keep=" + keep + ")", "Oracle (control)"),
      control("oracle(threshold=0.002)", "Oracle, uneven (control)"),
      control("recency(keep=" + keep + ")", "Recency (control)"),
      // Without a written window its size can be moved freely: the newest tokens stay in any case.
      control(matched ? "streaming_llm(sinks=0,size=128)" : "sliding_window", "Sliding window (control)")};
}

std::vector<std::optional<MatchRecord>> match_methods(const std::shared_ptr<const Model>& model,
                                                      std::vector<ChosenMethod>& methods,
                                                      const std::vector<TokenDocument>& slice,
                                                      const MatchOptions& options, Progress& progress) {
  std::vector<std::optional<MatchRecord>> records;
  for (ChosenMethod& method : methods) {
    MethodSpec& spec = method.spec;
    records.emplace_back();
    // What cannot run here is skipped with a reason of its own.
    if (!method.skip.empty() || spec.lacks_model() || stop_requested()) continue;
    progress.begin("matching " + spec.display, 0);
    MatchedMethod matched = match_budget(model, spec, slice, options, progress);
    progress.end();
    matched.record.documents = static_cast<int64_t>(slice.size());
    spec = std::move(matched.spec);
    records.back() = std::move(matched.record);
  }
  return records;
}

}  // namespace kvlab
