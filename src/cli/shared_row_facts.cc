#include "cli/shared_row_facts.h"

#include <filesystem>

#include "base/error.h"

namespace kvlab {

std::vector<std::shared_ptr<const Method>> check_methods(std::vector<ChosenMethod>& methods,
                                                         const ModelShape& shape) {
  std::vector<std::shared_ptr<const Method>> runnable;
  for (ChosenMethod& method : methods) {
    if (!method.skip.empty() || (!method.spec.dense() && method.spec.lacks_model())) continue;
    try {
      runnable.push_back(make_method(method.spec, shape));
    } catch (const UserError& error) {
      if (!method.by_all) throw;
      method.skip = error.what();
    }
  }
  return runnable;
}

TrainedOn record_of(const std::vector<TokenDocument>& documents, int64_t vocabulary) {
  TrainedOn record(vocabulary);
  for (const TokenDocument& document : documents) record.add(document.tokens, document.id);
  return record;
}

std::optional<TrainedOn> read_matched_on(const std::string& path) {
  if (path.empty()) return std::nullopt;
  const std::filesystem::path place = path;
  return TrainedOn::read(std::filesystem::is_directory(place) ? (place / kMatchedOnFile).string() : path);
}

std::vector<RowFacts> row_facts(const std::vector<ChosenMethod>& methods,
                                const std::vector<std::optional<MatchRecord>>& matches,
                                const TrainedOn* slice, const TrainedOn* matched_on,
                                Contamination& contamination) {
  KVLAB_CHECK(matches.empty() || matches.size() == methods.size());
  std::vector<RowFacts> all;
  for (size_t i = 0; i < methods.size(); ++i) {
    const ChosenMethod& method = methods[i];
    RowFacts facts;
    facts.skip = method.skip;
    facts.control = method.control;
    if (!matches.empty()) facts.match = matches[i];
    if (facts.skip.empty() && !method.spec.dense()) {
      std::vector<NamedRecord> others;
      const bool was_matched = facts.match && facts.match->runs > 0;
      if (was_matched && slice) others.push_back({slice, "budget (--match)"});
      if (!was_matched && matched_on && method.spec.policy.budget)
        others.push_back({matched_on, "budget (--matched_on)"});
      facts.trained_on_this = contamination.of(method.spec, others);
    }
    all.push_back(std::move(facts));
  }
  return all;
}

}  // namespace kvlab
