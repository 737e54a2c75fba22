#include "reports/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "base/utf8_check.h"
#include "reports/number_text.h"
#include "support/comparison_samples.h"

namespace kvlab {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The terminal column at which `part` starts in `line`.
size_t column_of(const std::string& line, const std::string& part) {
  const size_t at = line.find(part);
  return at == std::string::npos ? at : display_width(line.substr(0, at));
}

TEST(Table, NumbersStandUnderEachOther) {
  const std::vector<std::string> lines = lines_of(render_table(sample_comparison(), {}));
  ASSERT_GE(lines.size(), 6u);
  EXPECT_THAT(lines[0], HasSubstr("ΔPPL %"));
  EXPECT_THAT(lines[2], testing::StartsWith("Baseline"));
  const std::string &baseline = lines[2], &streaming = lines[3], &random = lines[4];
  EXPECT_EQ(column_of(baseline, ".0000"), column_of(streaming, ".1250"));
  EXPECT_EQ(column_of(baseline, ".0000"), column_of(random, ".3000 ± 0.1414"));
  EXPECT_EQ(column_of(baseline, ".086"), column_of(streaming, ".760")) << "PPL";
  EXPECT_THAT(streaming, HasSubstr("+0.1250"));
  EXPECT_THAT(streaming, HasSubstr("1.5 MB"));
  EXPECT_THAT(streaming, HasSubstr("8.00x"));
  EXPECT_THAT(baseline, Not(HasSubstr("+"))) << "nothing above zero";
  EXPECT_THAT(lines[5], HasSubstr("—"));
}

// Ten documents that differ a little, so that there is an interval.
ComparisonResult comparison_with_intervals() {
  ComparisonResult result = sample_comparison();
  std::vector<DocumentResult>& documents = result.methods[1].documents;
  documents.assign(10, documents[0]);
  for (int d = 0; d < 10; ++d) {
    documents[d].block_tokens = {1000};
    documents[d].delta_blocks = {125.0 + d};
    documents[d].kl_blocks = {20};
  }
  return result;
}

TEST(Table, IntervalsAndVerdicts) {
  EXPECT_THAT(render_table(sample_comparison(), {}), Not(HasSubstr("95%"))) << "no row has an interval";
  ComparisonResult result = comparison_with_intervals();
  const std::string text = render_table(result, {});
  EXPECT_THAT(lines_of(text)[0], HasSubstr("ΔNLL 95%"));
  EXPECT_THAT(lines_of(text)[3], HasSubstr("[+0.1273, +0.1317]"));
  EXPECT_THAT(text, HasSubstr("95% intervals: t over 10 documents\n"));
  EXPECT_THAT(text, Not(HasSubstr("verdict")));
  result.margin = 0.01;
  const std::string judged = render_table(result, {});
  EXPECT_THAT(lines_of(judged)[0], HasSubstr("verdict"));
  EXPECT_THAT(lines_of(judged)[3], HasSubstr("FAIL"));
  EXPECT_THAT(judged, HasSubstr("less than 1% higher\n"));
  EXPECT_THAT(render_table(result, {.format = TableFormat::kCsv}), HasSubstr(",FAIL,1500000,"));
}

TEST(Table, LongRangeLossWithTheControlsFamilyMarked) {
  ComparisonResult result = sample_comparison();
  EXPECT_THAT(render_table(result, {}), Not(HasSubstr("long-range"))) << "no token was chosen";
  for (MethodResult& row : result.methods) {
    for (DocumentResult& document : row.documents) {
      document.tokens_long_range = 40;
      document.delta_nll_long_range_sum = row.name == "Baseline" ? 0 : 50;
    }
  }
  result.methods.push_back(result.methods[1]);
  result.methods[1].control_family = true;
  const std::vector<std::string> lines = lines_of(render_table(result, {}));
  EXPECT_THAT(lines[0], HasSubstr("long-range ΔNLL"));
  EXPECT_THAT(lines[3], HasSubstr("+1.250*"));
  EXPECT_THAT(lines[6], HasSubstr("+1.250 "));
  EXPECT_EQ(column_of(lines[3], ".250*"), column_of(lines[6], ".250 ")) << "the mark moves no point";
  EXPECT_THAT(lines_of(render_table(result, {.format = TableFormat::kCsv}))[2], HasSubstr(",1.25,"));
}

TEST(Table, LegendHasOneLinePerFlaggedRow) {
  ComparisonResult result = sample_comparison();
  result.methods[1].notes = {"every=128", "approximation"};
  result.interrupted = true;
  const std::string text = render_table(result, {});
  EXPECT_THAT(text, HasSubstr("OK [1]"));
  EXPECT_THAT(text, HasSubstr("SKIPPED [2]"));
  EXPECT_THAT(text, HasSubstr("[1] StreamingLLM: every=128; approximation\n"));
  EXPECT_THAT(text, HasSubstr("[2] KVzap: no scorer given (--kvzap_scorer_model)\n"));
  EXPECT_THAT(text, HasSubstr("± is the standard deviation over 2 seeds\n"));
  EXPECT_THAT(text, HasSubstr("Interrupted"));
  result.methods.resize(1);
  result.interrupted = false;
  EXPECT_THAT(render_table(result, {}), Not(HasSubstr("status")));
}

TEST(Table, FitsTheTerminal) {
  const ComparisonResult result = sample_comparison();
  const std::vector<std::string> wide = lines_of(render_table(result, {.width = 400}));
  for (int width : {60, 80, 100, 160}) {
    const std::string text = render_table(result, {.width = width});
    size_t headings = 0;
    for (const std::string& line : lines_of(text)) {
      if (line.starts_with("[")) continue;
      EXPECT_LE(display_width(line), static_cast<size_t>(width)) << line;
      headings += line.starts_with("Method");
    }
    EXPECT_GT(headings, 1u);
  }
  EXPECT_EQ(wide, lines_of(render_table(result, {})));
  EXPECT_FALSE(render_table(result, {.width = 1}).empty());
}

TEST(Table, SortsByLoss) {
  ComparisonResult result = sample_comparison();
  result.methods.push_back(sample_method("Better", 2.9, 3.0));
  const std::vector<std::string> lines = lines_of(render_table(result, {.sort_by_nll = true}));
  EXPECT_THAT(lines[2], testing::StartsWith("Better"));
  EXPECT_THAT(lines[3], testing::StartsWith("Baseline"));
  EXPECT_THAT(lines[6], testing::StartsWith("KVzap"));
}

TEST(Table, AsciiHasNothingElse) {
  const std::string text = render_table(sample_comparison(), {.ascii = true});
  for (char c : text) EXPECT_GE(c, 0);
  EXPECT_THAT(text, HasSubstr("dPPL %"));
}

TEST(Table, Markdown) {
  ComparisonResult result = sample_comparison();
  result.methods[1].name = "a|b";
  const std::vector<std::string> lines = lines_of(render_table(result, {.format = TableFormat::kMarkdown}));
  EXPECT_THAT(lines[1], testing::StartsWith("| --------"));
  EXPECT_THAT(lines[1], HasSubstr("-: |"));
  EXPECT_THAT(lines[3], testing::StartsWith("| a\\|b"));
  for (size_t i = 1; i < 6; ++i) EXPECT_EQ(display_width(lines[i]), display_width(lines[0]));
}

TEST(Table, Csv) {
  ComparisonResult result = sample_comparison();
  result.methods[3].reason = "says \"no\"";
  const std::vector<std::string> lines = lines_of(render_table(result, {.format = TableFormat::kCsv}));
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_THAT(lines[0], testing::StartsWith("method,recipe,nll,nll_spread,delta_nll,"));
  EXPECT_THAT(lines[2],
              testing::StartsWith("StreamingLLM,\"streaming_llm(sinks=4,window=128)\",3.125,,0.125,,"));
  EXPECT_THAT(lines[2], HasSubstr(",1500000,8,512,OK,"));
  EXPECT_THAT(lines[4], HasSubstr("SKIPPED,,false,\"says \"\"no\"\"\""));
}

TEST(Table, EmptyComparisonAndFormats) {
  EXPECT_THAT(render_table({}, {}), HasSubstr("Method"));
  EXPECT_THAT(render_table({}, {.format = TableFormat::kMarkdown}), HasSubstr("| Method |"));
  EXPECT_EQ(parse_table_format("csv"), TableFormat::kCsv);
  EXPECT_THROW(parse_table_format("html"), UserError);
}

TEST(NumberText, RoundsAndSigns) {
  EXPECT_EQ(number_text(1.23456, {2}, "-"), "1.23");
  EXPECT_EQ(number_text(-0.000001, {4, true}, "-"), "0.0000");
  EXPECT_EQ(number_text(0.5, {1, true, 100}, "-"), "+50.0");
  EXPECT_EQ(number_text(1.5e9, {3}, "-"), "1.500e+09");
  EXPECT_EQ(number_text(std::nullopt, {}, "-"), "-");
  EXPECT_EQ(number_text(INFINITY, {}, "-"), "inf");
  EXPECT_EQ(bytes_text(12345678.0, "-"), "12.3 MB");
  EXPECT_EQ(bytes_text(999960.0, "-"), "1.0 MB");
  EXPECT_EQ(bytes_text(12.0, "-"), "12 B");
}

}  // namespace
}  // namespace kvlab
