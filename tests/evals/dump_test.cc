// A dump against the session that it is a picture of.
#include "evals/dump.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

#include "contract/harness.h"
#include "kernels/attention.h"
#include "support/damage.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;

constexpr int kTokens = 50;

class DumpTest : public testing::OneThread {
 protected:
  static TokenDocument document() {
    TokenDocument result;
    result.id = "text";
    result.tokens = random_tokens(kTokens, 81);
    result.scored.assign(kTokens, 1);
    result.scored[0] = result.scored[9] = 0;
    return result;
  }
  std::shared_ptr<const Weights> dump(const std::string& recipe, const std::string& parts,
                                      DumpOptions options = {}) {
    choose_dump_parts(parts, options);
    run_ = dump_document(tiny_model(), method_of(recipe), document(), options, path_, {}, silent_progress());
    return open_safetensors(path_);
  }
  TempFolder folder_;
  const std::string path_ = (folder_.path() / "d.safetensors").string();
  DocumentRun run_;
  const ModelShape shape_ = tiny_shape();
};

TEST_F(DumpTest, KeysAndValuesAreThoseOfTheStore) {
  const auto file = dump("none", "k,v");
  Session session(tiny_model(), method_of("none"), {});
  session.extend(document().tokens);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    const auto k = file->read(fmt::format("layers.{}.k", layer), {kTokens, 2, 16});
    const auto v = file->read(fmt::format("layers.{}.v", layer), {kTokens, 2, 16});
    for (int head = 0; head < 2; ++head) {
      const HeadStore& store = session.cache().store(layer, head);
      for (int t = 0; t < kTokens; ++t) {
        std::vector<float> key(16), value(16);
        store.read(t, key.data(), value.data());
        for (int i = 0; i < 16; ++i) {
          ASSERT_EQ(k[(t * 2 + head) * 16 + i], key[i]);
          ASSERT_EQ(v[(t * 2 + head) * 16 + i], value[i]);
        }
      }
    }
  }
}

TEST_F(DumpTest, BlocksLandInTheirPlaces) {
  const auto whole = dump("h2o(keep=0.5)", "k,v,q,hidden,attention,keep");
  std::vector<std::vector<float>> wanted;
  const auto names = whole->names();
  for (const std::string& name : names) wanted.push_back(whole->read(name, whole->shape(name)));
  DumpOptions cut;
  cut.run.extend_size = 7;
  const auto pieces = dump("h2o(keep=0.5)", "k,v,q,hidden,attention,keep", cut);
  ASSERT_EQ(pieces->names(), names);
  for (size_t i = 0; i < names.size(); ++i) {
    const auto got = pieces->read(names[i], pieces->shape(names[i]));
    ASSERT_EQ(got.size(), wanted[i].size());
    for (size_t x = 0; x < got.size(); ++x) {
      if (std::isnan(wanted[i][x])) continue;
      ASSERT_NEAR(got[x], wanted[i][x], 1e-3) << names[i] << " at " << x;
    }
  }
}

TEST_F(DumpTest, AttentionSumsAreThoseOfPlainLoops) {
  DumpOptions options;
  options.layers = {1};
  const auto file = dump("knorm(keep=0.5)", "k,q,attention", options);
  const auto k = file->read("layers.1.k", {kTokens, 2, 16});
  const auto q = file->read("layers.1.q", {kTokens, 4, 16});
  const auto sums = file->read("layers.1.attention_sum", {4, kTokens});
  for (int head = 0; head < 4; ++head) {
    std::vector<double> wanted(kTokens, 0.0);
    for (int i = 0; i < kTokens; ++i) {
      std::vector<double> row(i + 1);
      double total = 0;
      for (int j = 0; j <= i; ++j) {
        double dot = 0;
        for (int x = 0; x < 16; ++x)
          dot += double{q[(i * 4 + head) * 16 + x]} * k[(j * 2 + head / 2) * 16 + x];
        total += row[j] = std::exp(dot / 4);
      }
      for (int j = 0; j <= i; ++j) wanted[j] += row[j] / total;
    }
    for (int j = 0; j < kTokens; ++j) EXPECT_NEAR(sums[head * kTokens + j], wanted[j], 1e-4);
  }
  EXPECT_FALSE(file->has("layers.0.k")) << "one layer was asked for";
}

TEST_F(DumpTest, LossesTokensAndEvictions) {
  const auto file = dump("tova(keep=0.4)", "keep");
  const auto tokens = file->read("tokens", {kTokens}), nll = file->read("nll", {kTokens});
  const auto keep = file->read("keep", {3, 2, kTokens}), evict_at = file->read("evict_at", {3, 2, kTokens});
  size_t scored = 0;
  for (int t = 0; t < kTokens; ++t) {
    EXPECT_EQ(tokens[t], static_cast<float>(document().tokens[t]));
    if (t == 0 || t == 9) {
      EXPECT_TRUE(std::isnan(nll[t]));
    } else {
      EXPECT_EQ(nll[t], run_.nll[scored++]);
    }
  }
  for (int head = 0; head < 6; ++head) {
    std::vector<int32_t> live;
    for (int t = 0; t < kTokens; ++t) {
      const float kept = keep[head * kTokens + t], gone = evict_at[head * kTokens + t];
      EXPECT_EQ(kept, gone == -1 ? 1 : 0);
      if (kept == 1) live.push_back(t);
      EXPECT_TRUE(kept == 1 || gone > t);
    }
    EXPECT_EQ(live, run_.live[head / 2][head % 2]);
  }
}

TEST_F(DumpTest, HiddenStatesAreTheScorersInput) {
  // The hidden state of the first token of the first layer is the norm of its embedding, whatever comes
  // later.
  const auto file = dump("none", "hidden");
  EXPECT_EQ(file->shape("layers.2.hidden"), (std::vector<int64_t>{kTokens, shape_.hidden}));
  const auto first = file->read("layers.0.hidden", {kTokens, shape_.hidden});
  double squares = 0;
  for (int i = 0; i < shape_.hidden; ++i) squares += first[i] * first[i];
  EXPECT_NEAR(std::sqrt(squares / shape_.hidden), 1, 0.25) << "normed, with weights near 1";
}

TEST_F(DumpTest, RefusesWhatIsNotThere) {
  DumpOptions options;
  options.layers = {3};
  EXPECT_THAT(testing::error_text([&] { dump("none", "k", options); }),
              HasSubstr("the model has layers 0 to 2"));
  EXPECT_THAT(testing::error_text([&] { dump("h2o(keep=0.5)", "scores"); }),
              HasSubstr("no score when an entry is written"));
  EXPECT_THAT(testing::error_text([&] { dump("none", "k,w"); }), HasSubstr("--what 'w' is not known"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "no file is left behind";
}

TEST_F(DumpTest, NoFileOfAnInterruptedRun) {
  DumpOptions options;
  options.k = true;
  request_stop();
  dump_document(tiny_model(), method_of("none"), document(), options, path_, {}, silent_progress());
  clear_stop();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(DumpTest, TensorsAreKnownBeforehand) {
  DumpOptions options;
  choose_dump_parts("q,attention,keep", options);
  options.layers = {2};
  std::vector<std::string> names;
  int64_t bytes = 0;
  for (const auto& entry : dump_tensors(*method_of("none"), 10, options)) {
    names.push_back(entry.name);
    bytes += entry.bytes();
  }
  EXPECT_THAT(names,
              ElementsAre("layers.2.q", "layers.2.attention_sum", "evict_at", "tokens", "nll", "keep"));
  EXPECT_EQ(bytes, 10 * (4 * 16 * 4 + 4 * 4 + 6 * 4 + 4 + 4 + 6));
}

}  // namespace
}  // namespace kvlab
