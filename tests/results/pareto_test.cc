// Which rows are on the Pareto front, and which take no part in it.
#include "results/pareto.h"

#include <gmock/gmock.h>

#include "results/comparison_json.h"
#include "support/comparison_samples.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using Mark = std::optional<bool>;

MethodResult row(const std::string& name, double nll, double bytes) {
  MethodResult method = sample_method(name, nll, 3.0);
  method.documents[0].kv_bytes_seen_sum = bytes * 1000;
  return method;
}

std::vector<Mark> front(const std::vector<MethodResult>& rows) {
  ComparisonResult result;
  result.methods = rows;
  result.methods[0].reference = true;
  std::vector<Mark> marks;
  for (const MethodSummary& summary : summarise_all(result)) marks.push_back(summary.pareto);
  return marks;
}

TEST(Pareto, ARowIsDominatedByOneThatIsNoWorseInEither) {
  EXPECT_THAT(front({row("Baseline", 3.0, 100), row("cheap", 3.5, 25), row("good", 3.1, 50),
                     row("worse", 3.2, 50), row("dear", 3.1, 60), row("both", 3.6, 70)}),
              ElementsAre(std::nullopt, true, true, false, false, false));
}

TEST(Pareto, EqualRowsStandTogether) {
  EXPECT_THAT(front({row("Baseline", 3.0, 100), row("a", 3.5, 25), row("b", 3.5, 25)}),
              ElementsAre(std::nullopt, true, true));
}

TEST(Pareto, TheBaselineDominatesToo) {
  EXPECT_THAT(
      front({row("Baseline", 3.0, 100), row("as large and worse", 3.1, 100), row("better", 2.9, 100)}),
      ElementsAre(std::nullopt, false, true));
}

TEST(Pareto, RowsThatTakeNoPartDominateNothing) {
  std::vector<MethodResult> rows = {row("Baseline", 3.0, 100), row("method", 3.2, 50)};
  for (int i = 0; i < 6; ++i) rows.push_back(row("apart", 3.1, 10));
  rows[2].control = true;
  rows[3].non_causal = true;
  rows[4].status = Status::kFallback;
  rows[5].status = Status::kInert;
  rows[6].trained_on_this = {1, 1, 3, {"scorer kvzap"}, {}};
  rows[7].status = Status::kSkipped;
  const std::vector<Mark> marks = front(rows);
  EXPECT_EQ(marks[1], Mark(true));
  for (size_t i = 2; i < rows.size(); ++i) EXPECT_EQ(marks[i], std::nullopt) << i;
  rows[6].trained_on_this = {0, 1, 0, {}, {"no record"}};
  EXPECT_EQ(front(rows)[1], Mark(false)) << "unknown is no proof";
}

TEST(Pareto, StandsInTheJson) {
  ComparisonResult result;
  result.methods = {row("Baseline", 3.0, 100), row("a", 3.5, 25), row("b", 3.6, 25)};
  result.methods[0].reference = true;
  const auto json = comparison_summary_json(result);
  EXPECT_TRUE(json.at("methods")[0].at("pareto").is_null());
  EXPECT_EQ(json.at("methods")[1].at("pareto"), true);
  EXPECT_EQ(json.at("methods")[2].at("pareto"), false);
}

}  // namespace
}  // namespace kvlab
