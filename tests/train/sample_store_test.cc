// Samples on disk: resumed where they end, refused where they are damaged or of another run.
#include "train/sample_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr SampleSizes kSizes{/*layers=*/2, /*hidden=*/3, /*heads=*/2, /*samples=*/2, /*passages=*/3};
const nlohmann::ordered_json kSettings = {{"seed", 1}};

class SampleStoreTest : public ::testing::Test {
 protected:
  SampleStore store(bool restart = false, const nlohmann::ordered_json& settings = kSettings) const {
    return SampleStore(folder_.path() / "work", settings, kSizes, restart);
  }
  // Features 100 p + 10 l + their place, targets the negative; small integers are exact in bf16.
  static void add(SampleStore& store) {
    for (int layer = 0; layer < 2; ++layer) {
      std::vector<float> x(6), y(4);
      for (int i = 0; i < 6; ++i) x[i] = static_cast<float>(store.collected() * 64 + layer * 16 + i);
      for (int i = 0; i < 4; ++i) y[i] = -x[i];
      store.write(layer, x.data(), y.data());
    }
    store.commit();
  }
  static std::vector<float> row(const LayerSamples& samples, int64_t r) {
    std::vector<float> values(5);
    samples.features(r, values.data());
    samples.targets(r, values.data() + 3);
    return values;
  }
  template <typename Work>
  static std::string refused(const Work& work) {
    try {
      work();
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }
  void flip(const std::string& name, int at) const {
    std::string bytes = folder_.read("work/" + name);
    bytes[at] ^= 1;
    folder_.write("work/" + name, bytes);
  }
  TempFolder folder_;
};

TEST_F(SampleStoreTest, GivesBackWhatWasWritten) {
  SampleStore s = store();
  for (int p = 0; p < 3; ++p) add(s);
  const LayerSamples samples(s, 1);
  EXPECT_EQ(samples.rows_of(3), 6);
  EXPECT_THAT(row(samples, 0), ElementsAre(16, 17, 18, -16, -17));
  EXPECT_THAT(row(samples, 5), ElementsAre(147, 148, 149, -146, -147));
}

TEST_F(SampleStoreTest, GoesOnAfterTheLastCompletePassage) {
  {
    SampleStore s = store();
    add(s);
    add(s);
    const std::vector<float> half(6, 9);
    s.write(0, half.data(), half.data());  // killed in the middle of the third
  }
  SampleStore s = store();
  EXPECT_EQ(s.collected(), 2);
  add(s);
  EXPECT_THAT(row(LayerSamples(s, 0), 4), ElementsAre(128, 129, 130, -128, -129));
  EXPECT_EQ(store(true).collected(), 0) << "--restart";
}

TEST_F(SampleStoreTest, AJournalCutShortNamesFewerPassages) {
  {
    SampleStore s = store();
    add(s);
    add(s);
  }
  std::string journal = folder_.read("work/journal");
  folder_.write("work/journal", journal.substr(0, journal.size() - 3));
  EXPECT_EQ(store().collected(), 1);
}

TEST_F(SampleStoreTest, RefusesAnotherRunsSamples) {
  store();
  EXPECT_THAT(refused([&] {
                store(false, {{"seed", 2}});
              }),
              AllOf(HasSubstr("other settings"), HasSubstr("--restart")));
  EXPECT_NO_THROW(store(true, {{"seed", 2}}));
}

TEST_F(SampleStoreTest, TellsDamage) {
  SampleStore s = store();
  add(s);
  add(s);
  flip("layer_0001.samples", 30);
  EXPECT_NO_THROW(LayerSamples(s, 0));
  EXPECT_THAT(refused([&] { LayerSamples(s, 1); }),
              AllOf(HasSubstr("layer_0001.samples is damaged at passage 1"), HasSubstr("--restart")));
  folder_.write("work/journal", std::string(1000, 'x'));
  EXPECT_THAT(refused([&] { store(); }), HasSubstr("journal is damaged"));
}

TEST_F(SampleStoreTest, KeepsFitsBySettings) {
  const SampleStore s = store();
  const std::vector<float> fit{1, 2, 3};
  s.write_fit("linear", 1, fit);
  EXPECT_EQ(s.read_fit("linear", 1, 3), fit);
  EXPECT_EQ(s.read_fit("linear", 0, 3), std::nullopt);
  EXPECT_EQ(s.read_fit("mlp", 1, 3), std::nullopt);
  EXPECT_THAT(refused([&] { s.read_fit("linear", 1, 4); }), HasSubstr("is damaged"));
}

TEST_F(SampleStoreTest, RemovesItsOwnFilesOnly) {
  SampleStore s = store();
  add(s);
  folder_.write("work/mine.txt", "mine");
  s.remove();
  EXPECT_EQ(folder_.read("work/mine.txt"), "mine");
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "work/manifest.json"));
  std::filesystem::remove(folder_.path() / "work/mine.txt");
  s.remove();
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "work"));
}

}  // namespace
}  // namespace kvlab
