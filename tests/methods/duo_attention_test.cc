// DuoAttention: which heads stream, what they keep, and the files of scores.
#include <gmock/gmock.h>

#include "cache/method.h"
#include "contract/harness.h"
#include "format/safetensors.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::run;
using testing::tiny_shape;

// Scores of the tiny model's 3 layers of 2 KV heads.
constexpr const char* kScores = "0.9\t0.1\n0.2\t0.8\n0.5\t0.5\n";

class DuoAttentionTest : public testing::OneThread {
 protected:
  std::string recipe(const std::string& arguments, const std::string& text = kScores) const {
    return "duo_attention(" + arguments + ",model=\"" + folder_.write("scores.tsv", text).string() + "\")";
  }
  std::vector<double> densities(double head_ratio) const {
    return testing::method_of(recipe("head_ratio=" + std::to_string(head_ratio)))->spec.policy.table->values;
  }
  std::string refusal(const std::string& text) const {
    return testing::error_text([&] { testing::method_of(text); });
  }
  TempFolder folder_;
};

TEST_F(DuoAttentionTest, TheLowestScoresStream) {
  EXPECT_THAT(densities(0), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(densities(0.5), ElementsAre(1, 0, 0, 1, 0, 1)) << "of two equals the first streams";
  EXPECT_THAT(densities(0.25), ElementsAre(1, 0, 0, 1, 1, 1)) << "1.5 heads: the even number";
  EXPECT_THAT(densities(0.75), ElementsAre(1, 0, 0, 1, 0, 0)) << "4.5 heads";
  EXPECT_THAT(densities(1), ElementsAre(0, 0, 0, 0, 0, 0));
}

TEST_F(DuoAttentionTest, StreamingHeadsKeepSinksAndWindow) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = testing::random_tokens(100, 3);
  const Outcome outcome = run(testing::method_of(recipe("head_ratio=0.5,sinks=3,window=20")), tokens);
  for (size_t i = 0; i < 6; ++i) {
    const bool streams = i == 1 || i == 2 || i == 4;
    EXPECT_EQ(outcome.live[i].size(), streams ? 23u : 100u) << i;
    for (int p = 0; p < 100; ++p)
      EXPECT_EQ(outcome.lifetimes.evict_at[i][p], streams && p >= 3 && p < 80 ? p + 21 : kNever) << i << p;
  }
}

TEST_F(DuoAttentionTest, AllHeadsStreamingIsStreamingLlm) {
  const std::vector<int32_t> tokens = testing::random_tokens(100, 4);
  const Outcome own = run(testing::method_of(recipe("head_ratio=1,sinks=3,window=20")), tokens);
  const Outcome same = run(testing::method_of("streaming_llm(sinks=3,window=20)"), tokens);
  EXPECT_EQ(own.live, same.live);
  EXPECT_EQ(own.hidden, same.hidden);
  const Outcome dense = run(testing::method_of("none"), tokens);
  EXPECT_EQ(run(testing::method_of(recipe("head_ratio=0,sinks=3,window=20")), tokens).hidden, dense.hidden);
}

TEST_F(DuoAttentionTest, ActsOnceAtTheEndOfAContext) {
  KVLAB_NEEDS_FULL_ATTENTION();
  testing::RunPlan plan;
  plan.context = 80;
  const std::string text = recipe("head_ratio=0.5,sinks=3,window=20,at=context");
  const Outcome outcome = run(testing::method_of(text), testing::random_tokens(100, 5), plan);
  EXPECT_EQ(outcome.live[1].size(), 43u);
  EXPECT_EQ(outcome.live[0].size(), 100u);
  EXPECT_THAT(resolve_recipe(text, {}).recipe, HasSubstr("at=context"));
}

TEST_F(DuoAttentionTest, TensorsAndFoldersSayTheSame) {
  const std::string tensor = (folder_.path() / "scores.safetensors").string();
  write_safetensors(tensor, {{"head_scores", {3, 2}, {0.9f, 0.1f, 0.2f, 0.8f, 0.5f, 0.5f}}});
  const auto table = [&](const std::string& path) {
    return testing::method_of("duo_attention(model=\"" + path + "\")")->spec.policy.table->values;
  };
  EXPECT_EQ(table(tensor), densities(0.5));
  std::filesystem::create_directories(folder_.path() / "heads");
  folder_.write("heads/full_attention_heads.tsv", kScores);
  EXPECT_EQ(table((folder_.path() / "heads").string()), densities(0.5));
  EXPECT_EQ(table(testing::head_scores_folder()).size(), 6u);
}

TEST_F(DuoAttentionTest, MistakesAreNamed) {
  EXPECT_THAT(refusal("duo_attention"), HasSubstr("needs head scores: give model=FILE"));
  EXPECT_THAT(refusal(recipe("keep=0.5")), HasSubstr("takes no keep: the heads' scores and head_ratio"));
  EXPECT_THAT(refusal(recipe("every=2")), HasSubstr("takes no every"));
  EXPECT_THAT(refusal(recipe("sinks=1", "1\t2\n3\t4\n")),
              AllOf(HasSubstr("scores.tsv"), HasSubstr("2 lines of scores, the model has 3 layers")));
  EXPECT_THAT(refusal(recipe("sinks=1", "1\t2\n3\n5\t6\n")), HasSubstr("line 2 has 1 scores"));
  EXPECT_THAT(refusal(recipe("sinks=1", "1\t2\n3\tx4\n5\t6\n")), HasSubstr("'x4' in line 2 is not a number"));
  EXPECT_THAT(refusal(recipe("sinks=1", "1\t2\n3\tnan\n5\t6\n")), HasSubstr("layer 1, head 1 is nan"));
  EXPECT_THAT(refusal("duo_attention(model=\"" + (folder_.path() / "nowhere").string() + "\")"),
              HasSubstr("nowhere"));
  const std::string other = (folder_.path() / "other.safetensors").string();
  write_safetensors(other, {{"head_scores", {2, 2}, {1, 2, 3, 4}}});
  EXPECT_THAT(refusal("duo_attention(model=\"" + other + "\")"),
              AllOf(HasSubstr("other.safetensors"), HasSubstr("[2, 2]"), HasSubstr("[3, 2]")));
}

}  // namespace
}  // namespace kvlab
