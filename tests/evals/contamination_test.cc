// Rows that were fitted on the text they are evaluated on are found, and what cannot be known is said.
#include "evals/contamination.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/random.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kVocabulary = 1000;

std::vector<int32_t> text(uint64_t seed, size_t tokens) {
  std::vector<int32_t> ids(tokens);
  for (size_t i = 0; i < tokens; ++i) ids[i] = static_cast<int32_t>(mix64(seed << 32 | i) % kVocabulary);
  return ids;
}

class ContaminationTest : public ::testing::Test {
 protected:
  // A scorer's folder with a record of `trained`, or, where that is empty, without one.
  std::string scorer(const std::string& name, const std::vector<int32_t>& trained,
                     int64_t vocabulary = kVocabulary) const {
    const auto place = folder_.path() / name;
    std::filesystem::create_directory(place);
    if (!trained.empty()) record(trained, vocabulary).write(trained_on_path(place));
    return place;
  }
  static TrainedOn record(const std::vector<int32_t>& trained, int64_t vocabulary = kVocabulary) {
    TrainedOn made(vocabulary);
    made.add(trained, "text");
    return made;
  }
  TrainedOnThis of(const std::string& recipe, const std::vector<NamedRecord>& others = {}) {
    return checker_.of(resolve_recipe(recipe, {}), others);
  }
  static std::string kvzap(const std::string& folder) {
    return "kvzap(threshold=-4,model=\"" + folder + "\")";
  }
  static nlohmann::ordered_json json_of(const TrainedOnThis& trained) {
    nlohmann::ordered_json json;
    set_trained_on(json, trained);
    return json;
  }

  TempFolder folder_;
  const std::vector<int32_t> first_ = text(1, 640), second_ = text(2, 640);
  Contamination checker_{{first_, second_}, {kVocabulary, kVocabulary + 24}};
};

TEST_F(ContaminationTest, AScorerTrainedOnOneOfTwoDocuments) {
  std::vector<int32_t> trained = text(9, 100);
  trained.insert(trained.end(), second_.begin() + 50, second_.begin() + 400);
  const TrainedOnThis row = of(kvzap(scorer("zap", trained)));
  EXPECT_TRUE(row.found());
  EXPECT_EQ(row.documents, 1);
  EXPECT_EQ(row.evaluated, 2);
  EXPECT_EQ(row.shingles, 5);
  EXPECT_THAT(trained_on_notes(row),
              ElementsAre("TRAINED-ON-THIS: 1 of the 2 texts evaluated holds what it was fitted on (scorer "
                          "kvzap; 5 shingles of 64 tokens)"));
  EXPECT_EQ(json_of(row).at("trained_on_this").at("documents"), 1);
  EXPECT_EQ(json_of(row).at("trained_on_this").at("shingles"), 5);
  EXPECT_TRUE(json_of(row).at("trained_on_reason").is_null());
}

TEST_F(ContaminationTest, OtherTextIsNoNews) {
  for (const std::string& recipe : {kvzap(scorer("zap", text(3, 5000))), std::string("knorm(keep=0.5)"),
                                    std::string("none"), std::string("kvzap(threshold=-4)")}) {
    const TrainedOnThis row = of(recipe);
    EXPECT_FALSE(row.found()) << recipe;
    EXPECT_THAT(trained_on_notes(row), IsEmpty()) << recipe;
    EXPECT_EQ(json_of(row).at("trained_on_this"), false) << recipe;
  }
}

TEST_F(ContaminationTest, WithoutARecordNothingIsKnown) {
  const TrainedOnThis row = of(kvzap(scorer("zap", {})));
  EXPECT_FALSE(row.found());
  EXPECT_THAT(trained_on_notes(row), ElementsAre("no record of the text that scorer kvzap was trained on"));
  EXPECT_TRUE(json_of(row).at("trained_on_this").is_null());
  EXPECT_EQ(json_of(row).at("trained_on_reason"), "no record of the text that scorer kvzap was trained on");
}

TEST_F(ContaminationTest, EveryPhaseAndWrapperIsLookedAt) {
  const std::string trained = kvzap(scorer("zap", first_)), unknown = kvzap(scorer("other", {}));
  const std::string decode = "streaming_llm(sinks=4,window=128)";
  EXPECT_EQ(of("two_phase(context=" + trained + ",decode=" + decode + ")").shingles, 10);
  EXPECT_EQ(of("two_phase(context=" + trained + ",decode=" + trained + ")").shingles, 10) << "counted once";
  EXPECT_EQ(of("adakv(keep=0.5,of=kvzap(model=\"" + scorer("zap", first_) + "\"))").shingles, 10);
  const TrainedOnThis both = of("two_phase(context=" + unknown + ",decode=" + trained + ")");
  EXPECT_TRUE(both.found());
  EXPECT_EQ(both.unknown.size(), 1u);
  EXPECT_EQ(json_of(both).at("trained_on_this").at("shingles"), 10);
  EXPECT_FALSE(json_of(both).at("trained_on_reason").is_null());
}

TEST_F(ContaminationTest, ARecordInOtherIdsIsNotLookedUp) {
  const TrainedOnThis row = of(kvzap(scorer("zap", first_, 777)));
  EXPECT_FALSE(row.found());
  EXPECT_THAT(row.unknown,
              ElementsAre(HasSubstr("another tokenizer: its vocabulary has 777, this one 1000 or 1024")));
  EXPECT_TRUE(of(kvzap(scorer("padded", first_, 1024))).found());
}

TEST_F(ContaminationTest, BudgetsMatchedOrMeasuredOnTheText) {
  const TrainedOn calibrated = record(second_);
  const TrainedOnThis matched = of("knorm(keep=0.5)", {{&calibrated, "budget (--match)"}});
  EXPECT_EQ(matched.documents, 1);
  EXPECT_THAT(matched.fitted, ElementsAre("budget (--match)"));
  const std::string file = folder_.write("b.json", "{\"keep\": [0.5, 0.25]}");
  EXPECT_THAT(trained_on_notes(of("knorm(budget=\"" + file + "\")")), IsEmpty()) << "it may be made by hand";
  record(first_).write(trained_on_path(file));
  Contamination fresh({first_, second_}, {kVocabulary});
  const TrainedOnThis measured = fresh.of(resolve_recipe("knorm(budget=\"" + file + "\")", {}));
  EXPECT_EQ(measured.shingles, 10);
  EXPECT_THAT(measured.fitted, ElementsAre("budget b.json"));
}

TEST_F(ContaminationTest, DamagedRecordsAreNamed) {
  const std::string place = scorer("zap", first_);
  folder_.write("zap/trained_on.json", "{\"format\": 7}");
  EXPECT_THAT(testing::error_text([&] { of(kvzap(place)); }), HasSubstr("trained_on.json: 'format' is 7"));
}

}  // namespace
}  // namespace kvlab
