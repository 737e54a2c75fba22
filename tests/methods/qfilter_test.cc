// QFilter: projections on filters from a file, and files that do not fit.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <random>

#include "base/error.h"
#include "cache/method.h"
#include "format/safetensors.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

constexpr ModelShape kShape{/*layers=*/2, /*hidden=*/12, /*query_heads=*/4, /*kv_heads=*/2, /*head_dim=*/8};

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

class QFilter : public ::testing::Test {
 protected:
  std::vector<float> filters_ = random_values(2 * 2 * 8, 3);

  void write(const std::string& tensor, const std::vector<int64_t>& shape) {
    write_safetensors((folder_.path() / "model.safetensors").string(), {{tensor, shape, filters_}});
  }
  std::shared_ptr<const Method> make(const std::string& folder) const {
    const std::string model = folder.empty() ? "" : ",model=\"" + folder + "\"";
    return make_method(resolve_recipe("qfilter(keep=0.5" + model + ")", {}), kShape);
  }
  // What is said of the folder, which is not taken.
  std::string refusal(const std::string& folder) const {
    try {
      make(folder);
    } catch (const UserError& error) {
      return error.what();
    }
    ADD_FAILURE() << "taken";
    return "";
  }
  std::string folder() const { return folder_.path().string(); }

 private:
  testing::TempFolder folder_;
};

TEST_F(QFilter, ScoresAreMinusTheProjections) {
  write("q_filters", {2, 2, 8});
  constexpr int kRows = 5, kLayer = 1;
  const std::vector<float> k = random_values(kRows * 16, 4);
  std::vector<float> out(2 * kRows);
  make(folder())->fixed()->score({kLayer, 7, kRows, k.data(), k.data(), 16}, out.data());
  for (int head = 0; head < 2; ++head) {
    for (int r = 0; r < kRows; ++r) {
      double projection = 0;
      for (int i = 0; i < 8; ++i)
        projection += filters_[(kLayer * 2 + head) * 8 + i] * k[r * 16 + head * 8 + i];
      EXPECT_NEAR(out[head * kRows + r], -projection, 1e-5);
    }
  }
}

TEST_F(QFilter, FiltersOfAnotherModelAreRefusedWithBothShapes) {
  write("q_filters", {4, 1, 8});
  const std::string text = refusal(folder());
  EXPECT_NE(text.find("[4, 1, 8]"), std::string::npos) << text;
  EXPECT_NE(text.find("[2, 2, 8]"), std::string::npos) << text;
}

TEST_F(QFilter, FoldersWithoutFiltersAreRefused) {
  EXPECT_NE(refusal(folder()).find(folder()), std::string::npos);
  write("filters", {2, 2, 8});
  EXPECT_NE(refusal(folder()).find("q_filters"), std::string::npos);
  EXPECT_NE(refusal("").find("model=FOLDER"), std::string::npos);
}

TEST_F(QFilter, FiltersThatAreNoNumbersAreRefused) {
  filters_[9] = std::numeric_limits<float>::quiet_NaN();
  write("q_filters", {2, 2, 8});
  EXPECT_NE(refusal(folder()).find("NaN"), std::string::npos);
}

// --kvzap_scorer_model names KVzap's files, not those of other learned scorers.
TEST_F(QFilter, TheScorerOfKvzapIsNotTakenForFilters) {
  RecipeDefaults defaults;
  defaults.scorer_model = "kvzap_folder";
  EXPECT_EQ(resolve_recipe("qfilter(keep=0.5)", defaults).model_path, "");
  EXPECT_TRUE(resolve_recipe("qfilter(keep=0.5)", defaults).lacks_model());
  EXPECT_EQ(resolve_recipe("kvzap(keep=0.5)", defaults).model_path, "kvzap_folder");
}

}  // namespace
}  // namespace kvlab
