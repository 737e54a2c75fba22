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
  EXPECT_NEAR(ten.kl_ci95.high, ten.delta_nll.ci95.high / 10, 1e-12);
  const RowIntervals nine = row_intervals(paired_method("x", 9, 0.1)).value();
  EXPECT_EQ(nine.method, "block bootstrap within these documents");
  EXPECT_LT(nine.delta_nll.ci95.low, nine.delta_nll.ci95.high);
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

// Every document's first and last block has `tokens` chosen tokens that lose 1 and 2 nats each.
MethodResult with_long_range(int documents, int64_t tokens) {
  MethodResult row = paired_method("x", documents, 0.1);
  for (DocumentResult& document : row.documents) {
    document.tokens_long_range = 2 * tokens;
    document.delta_nll_long_range_sum = 3.0 * static_cast<double>(tokens);
    document.long_range_block_tokens = {tokens, 0, tokens};
    document.long_range_delta_blocks = {1.0 * static_cast<double>(tokens), 0,
                                        2.0 * static_cast<double>(tokens)};
  }
  return row;
}

TEST(LongRangeInference, OfTheDocumentsThatHaveSuchTokens) {
  MethodResult row = with_long_range(11, 5);
  EXPECT_EQ(long_range_inference(row)->method, "t over 11 documents");
  EXPECT_DOUBLE_EQ(*summarise(row).delta_nll_long_range, 1.5);
  // Nothing was chosen in the last two: nine are left, and 18 blocks with tokens.
  for (size_t d : {9, 10}) {
    row.documents[d].tokens_long_range = 0;
    row.documents[d].delta_nll_long_range_sum = 0;
    row.documents[d].long_range_block_tokens.clear();
    row.documents[d].long_range_delta_blocks.clear();
  }
  const PairedInference nine = long_range_inference(row).value();
  EXPECT_EQ(nine.method, "block bootstrap within these documents");
  EXPECT_LT(nine.inference.ci95.low, 1.5);
  EXPECT_GT(nine.inference.ci95.high, 1.5);
  EXPECT_EQ(row_intervals(row)->method, "t over 11 documents") << "ΔNLL has its own";
  EXPECT_FALSE(long_range_inference(with_long_range(3, 5))) << "six blocks with tokens, of nine";
}

TEST(LongRangeInference, NoneOfInertRowsAndOfNoTokens) {
  MethodResult row = with_long_range(12, 5);
  row.status = Status::kInert;
  EXPECT_FALSE(summarise(row).delta_nll_long_range || summarise(row).delta_nll_long_range_ci95);
  EXPECT_FALSE(summarise(merge_seeds({row, row})).delta_nll_long_range);
  EXPECT_FALSE(summarise(paired_method("x", 12, 0.1)).delta_nll_long_range) << "zero tokens have no mean";
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

TEST(SummariseAll, APartialComparisonHasSumsOnly) {
  ComparisonResult result = paired_comparison();
  result.methods.push_back(merge_seeds({paired_method("a", 12, 0.1), paired_method("a", 12, 0.2)}));
  result.margin = 0.02;
  const std::vector<MethodSummary> whole = summarise_all(result);
  result.partial = true;
  const std::vector<MethodSummary> partial = summarise_all(result);
  for (size_t i : {2, 6}) {
    EXPECT_EQ(partial[i].delta_nll, whole[i].delta_nll);
    EXPECT_EQ(partial[i].kl_mean, whole[i].kl_mean);
    EXPECT_TRUE(whole[i].delta_nll_ci95 && whole[i].kl_p99 && whole[i].p_holm && whole[i].verdict);
    EXPECT_FALSE(partial[i].delta_nll_ci95 || partial[i].kl_p99 || partial[i].p_holm || partial[i].verdict);
  }
  EXPECT_EQ(whole[6].seeds.size(), 2u);
  EXPECT_EQ(comparison_summary_json(result)["partial"], true);
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
