#include "results/row_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "results/comparison_json.h"
#include "results/summary.h"
#include "support/comparison_samples.h"

namespace kvlab {
namespace {

// A document of full blocks with the given ΔNLL per token in each; KL is a tenth of it.
DocumentResult paired_document(const std::vector<double>& deltas) {
  DocumentResult document = sample_document(3, 3);
  document.tokens_scored = kBlockTokens * static_cast<int64_t>(deltas.size());
  document.delta_nll_sum = document.kl_sum = 0;
  for (double delta : deltas) {
    document.block_tokens.push_back(kBlockTokens);
    document.delta_blocks.push_back(delta * kBlockTokens);
    document.kl_blocks.push_back(delta * kBlockTokens / 10);
    document.delta_nll_sum += document.delta_blocks.back();
    document.kl_sum += document.kl_blocks.back();
  }
  document.token_kl.assign(document.tokens_scored, 0.5f);
  document.token_kl[0] = 2;
  document.delta_p_squared_sum = 0.04 * static_cast<double>(document.tokens_scored);
  return document;
}

// `documents` documents of three blocks whose ΔNLL lies around `mean`.
MethodResult paired_method(const std::string& name, int documents, double mean) {
  MethodResult method = sample_method(name, 3, 3);
  method.documents.clear();
  for (int d = 0; d < documents; ++d) {
    const double own = mean + 0.01 * (d % 4 - 1.5);
    method.documents.push_back(paired_document({own - 0.02, own, own + 0.02}));
  }
  return method;
}

TEST(RowIntervals, DocumentsFromTenOnBlocksBelow) {
  const RowIntervals ten = row_intervals(paired_method("x", 10, 0.1)).value();
  EXPECT_EQ(ten.method, "t over 10 documents");
  EXPECT_LT(ten.delta_nll.ci95.low, 0.1);
  EXPECT_NEAR(ten.kl_ci95->high, ten.delta_nll.ci95.high / 10, 1e-12);
  const RowIntervals nine = row_intervals(paired_method("x", 9, 0.1)).value();
  EXPECT_EQ(nine.method, "block bootstrap within these documents");
  EXPECT_LT(nine.delta_nll.ci95.low, nine.delta_nll.ci95.high);
}

TEST(RowIntervals, WithoutKlThereIsNoIntervalOfIt) {
  for (const int documents : {9, 12}) {
    MethodResult row = paired_method("x", documents, 0.1);
    for (DocumentResult& document : row.documents) document.kl_blocks.clear();
    ASSERT_TRUE(row_intervals(row));
    EXPECT_FALSE(row_intervals(row)->kl_ci95);
  }
}

TEST(RowIntervals, NoneOfTooLittle) {
  EXPECT_TRUE(row_intervals(paired_method("x", 3, 0.1))) << "nine blocks";
  EXPECT_FALSE(row_intervals(paired_method("x", 2, 0.1))) << "six blocks";
  MethodResult with_a_short_one = paired_method("x", 3, 0.1);
  with_a_short_one.documents.push_back(paired_document({0.1}));
  EXPECT_FALSE(row_intervals(with_a_short_one)) << "a single block has nothing to be exchanged with";
  EXPECT_FALSE(row_intervals(sample_method("Baseline", 3, 3))) << "paired with nothing";
}

TEST(RowIntervals, SeedsAreAveragedDocumentByDocument) {
  MethodResult one = paired_method("Random", 12, 0.1), other = one, mean = one;
  // What one seed has more, the other has less: the mean over seeds has no part of it.
  for (int d = 0; d < 12; ++d) {
    const double shift = d % 2 ? 10 : -10;
    one.documents[d].delta_blocks[1] += shift;
    other.documents[d].delta_blocks[1] -= shift;
  }
  const Interval expected = row_intervals(mean)->delta_nll.ci95;
  const MethodSummary merged = summarise(merge_seeds({one, other}));
  EXPECT_NEAR(merged.delta_nll_ci95->low, expected.low, 1e-12);
  EXPECT_NEAR(merged.delta_nll_ci95->high, expected.high, 1e-12);
  EXPECT_GT(row_intervals(one)->delta_nll.ci95.high, expected.high + 0.01);
}

TEST(TokenDistribution, OfAllDocumentsTogether) {
  const TokenDistribution tokens = token_distribution(paired_method("x", 2, 0.1)).value();
  EXPECT_EQ(tokens.kl_median, 0.5);
  EXPECT_EQ(tokens.kl_p99, 0.5);
  EXPECT_EQ(tokens.kl_max, 2);
  EXPECT_GT(tokens.kl_p999, 0.5);
  EXPECT_NEAR(tokens.rms_delta_p, 0.2, 1e-12);
  EXPECT_FALSE(token_distribution(sample_method("Baseline", 3, 3)));
}

ComparisonResult paired_comparison() {
  ComparisonResult result;
  result.methods = {sample_method("Baseline", 3, 3), paired_method("Noise", 12, 0),
                    paired_method("Bad", 12, 0.1),   paired_method("Good", 12, 0.001),
                    paired_method("Inert", 12, 0.1), sample_comparison().methods[3]};
  result.methods[0].reference = result.methods[1].reference = true;
  result.methods[4].status = Status::kInert;
  return result;
}

TEST(SummariseAll, AdjustsOverTheMethodsAndJudges) {
  ComparisonResult result = paired_comparison();
  EXPECT_FALSE(summarise_all(result)[2].verdict) << "no margin, no verdict";
  result.margin = 0.02;
  const std::vector<MethodSummary> rows = summarise_all(result);
  for (size_t i : {0, 1, 4, 5}) {
    EXPECT_FALSE(rows[i].p_holm || rows[i].verdict) << i;
  }
  EXPECT_DOUBLE_EQ(*rows[2].p_holm, 2 * *rows[2].delta_nll_p) << "two methods are tested";
  EXPECT_EQ(*rows[2].verdict, "FAIL");
  EXPECT_EQ(*rows[3].verdict, "PASS");
  EXPECT_TRUE(rows[1].delta_nll_ci95) << "the noise floor shows its interval";
  EXPECT_FALSE(rows[4].delta_nll_ci95 || rows[4].kl_ci95 || rows[4].kl_max || rows[4].ci_method);
}

TEST(SummariseAll, JsonHasTheKeysInEveryRow) {
  ComparisonResult result = paired_comparison();
  result.margin = 0.02;
  const nlohmann::ordered_json rows = comparison_summary_json(result)["methods"];
  for (const auto& row : rows) {
    for (const char* key : {"delta_nll_ci95", "kl_ci95", "ci_method", "kl_median", "kl_p90", "kl_p95",
                            "kl_p99", "kl_p999", "kl_max", "rms_delta_p", "p_holm", "verdict"}) {
      ASSERT_TRUE(row.contains(key)) << key;
      const bool has =
          row["name"] == "Bad" || row["name"] == "Good" ||
          (row["name"] == "Noise" && key != std::string("p_holm") && key != std::string("verdict"));
      EXPECT_EQ(!row[key].is_null(), has) << row["name"] << " " << key;
    }
  }
  EXPECT_EQ(rows[2]["delta_nll_ci95"].size(), 2u);
  EXPECT_EQ(rows[2]["ci_method"], "t over 12 documents");
}

TEST(SummariseAll, LossesPerTokenOfKlOnlyWithThoseOfNll) {
  ComparisonResult result = paired_comparison();
  nlohmann::ordered_json document = detailed_results_json(result)["methods"][2]["documents"][0];
  EXPECT_TRUE(document["token_kl"].is_null());
  EXPECT_EQ(document["delta_nll_blocks"].size(), 3u);
  result.methods[2].documents[0].token_nll.emplace(384, 1.f);
  document = detailed_results_json(result)["methods"][2]["documents"][0];
  EXPECT_EQ(document["token_kl"].size(), 384u);
}

}  // namespace
}  // namespace kvlab
