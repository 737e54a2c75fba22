#include "reports/heatmap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "base/error.h"
#include "support/picture.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using testing::ElementsAre;

// What streaming_llm(sinks=4,window=128) keeps of 1024 tokens.
KeptMap streaming_map(int64_t tokens = 1024, int64_t layers = 30, int64_t heads = 3) {
  KeptMap map;
  map.title = {"SmolLM2-135M-Instruct", "document 0"};
  map.name = "StreamingLLM";
  map.recipe = "streaming_llm(sinks=4,window=128)";
  map.tokens = tokens;
  map.layers = layers;
  map.heads = heads;
  map.sinks = 4;
  map.window = 128;
  for (int64_t t = 0; t < tokens; ++t) map.protected_token.push_back(t < 4 || t >= tokens - 128);
  for (int64_t pair = 0; pair < layers * heads; ++pair) {
    map.kept.insert(map.kept.end(), map.protected_token.begin(), map.protected_token.end());
  }
  return map;
}

int64_t differing_pixels(const Picture& a, const Picture& b, const Rect& area) {
  int64_t count = 0;
  for (int y = area.y; y < area.bottom(); ++y) {
    for (int x = area.x; x < area.right(); ++x) count += !(a.at(x, y) == b.at(x, y));
  }
  return count;
}

TEST(KeptStatistics, CountsTokensWhereAllAgree) {
  EXPECT_THAT(kept_statistics(streaming_map()),
              ElementsAre("Tokens visualised: 1024", "Overall density: 12.89% (132/1024 kept)",
                          "Protected tokens: 12.89% (132/1024 protected)",
                          "Compressible region density: 0.00% (0/892 kept)",
                          "Layer-token pairs whose heads disagree: 0.00% (0/30720 pairs)"));
}

TEST(KeptStatistics, CountsEntriesWhereTheyDoNot) {
  KeptMap map = streaming_map();
  map.kept[500] = 1;  // one head of layer 0
  const std::vector<std::string> lines = kept_statistics(map);
  EXPECT_EQ(lines[1], "Overall density: 12.89% (11881/92160 kept)");
  EXPECT_EQ(lines[3], "Compressible region density: 0.00% (1/80280 kept)");
  EXPECT_EQ(lines[4], "Layer-token pairs whose heads disagree: 0.00% (1/30720 pairs)");
  // Heads that agree within each layer, layers that do not: still no token counts.
  KeptMap layers = streaming_map();
  for (int head = 0; head < 3; ++head) layers.kept[static_cast<size_t>(head * 1024 + 500)] = 1;
  EXPECT_FALSE(count_kept(layers).all_agree);
  EXPECT_EQ(count_kept(layers).disagreeing, 0);
}

TEST(KeptStatistics, ShortDocumentsHaveNothingToCompress) {
  const KeptMap map = streaming_map(100, 2, 2);
  EXPECT_EQ(kept_statistics(map)[3], "Compressible region density: n/a (0/0 kept)");
}

TEST(Heatmap, FileNames) {
  EXPECT_EQ(heatmap_file_name("Random(threshold=1.0)"), "Random_threshold_1.0__compression_heatmap.png");
  EXPECT_EQ(heatmap_file_name("StreamingLLM"), "StreamingLLM_compression_heatmap.png");
  EXPECT_EQ(heatmap_file_name("kvzap(model=\"/a/b\")"), "kvzap_model___a_b___compression_heatmap.png");
  const std::string longest(400, 'x');
  EXPECT_LT(heatmap_file_name(longest).size(), 255u);
  EXPECT_NE(heatmap_file_name(longest), heatmap_file_name(longest + "y"));
}

TEST(Heatmap, PanelsShowWhatIsKept) {
  TempFolder folder;
  KeptMap map = streaming_map();
  for (int64_t t = 300; t < 310; ++t) map.kept[static_cast<size_t>(t)] = 1;  // layer 0, one head of three
  const auto path = folder.path() / "deep" / "map.png";
  write_heatmap(map, path);
  const Picture picture(path);
  ASSERT_TRUE(picture.good());
  const HeatmapLayout layout = heatmap_layout(map);
  EXPECT_EQ(picture.width(), layout.width);
  EXPECT_EQ(picture.height(), layout.height);
  const int cell = layout.layers.width / 1024, row = layout.layers.height / 30;
  const auto in = [&](const Rect& panel, int token, int line) {
    return picture.at(panel.x + token * cell, panel.y + line * row + row / 2);
  };
  EXPECT_EQ(in(layout.layers, 1, 0), kKeptColor);
  EXPECT_EQ(in(layout.layers, 500, 7), kEvictedColor);
  EXPECT_EQ(in(layout.layers, 1000, 29), kKeptColor);
  EXPECT_EQ(in(layout.layers, 305, 0), fraction_color(1.0 / 3));
  EXPECT_EQ(in(layout.layers, 305, 1), kEvictedColor);
  EXPECT_EQ(in(layout.mean, 305, 0), fraction_color(1.0 / 90));
  EXPECT_EQ(in(layout.binary, 305, 0), kEvictedColor);
  EXPECT_EQ(in(layout.binary, 1000, 0), kKeptColor);
  EXPECT_EQ(in(layout.protection, 1, 0), kProtectedColor);
  EXPECT_EQ(in(layout.protection, 500, 0), kCompressibleColor);
}

TEST(Heatmap, HalfOfThePairsCountsAsKept) {
  TempFolder folder;
  KeptMap map = streaming_map(200, 1, 2);
  map.kept[20] = 1;
  write_heatmap(map, folder.path() / "a.png");
  const Picture picture(folder.path() / "a.png");
  const HeatmapLayout layout = heatmap_layout(map);
  const int cell = layout.binary.width / 200;
  EXPECT_EQ(picture.at(layout.binary.x + 20 * cell + cell / 2, layout.binary.y + 9), kKeptColor);
  EXPECT_EQ(picture.at(layout.binary.x + 21 * cell + cell / 2, layout.binary.y + 9), kEvictedColor);
}

TEST(Heatmap, DrawsTheBoundaries) {
  TempFolder folder;
  const KeptMap map = streaming_map();
  write_heatmap(map, folder.path() / "a.png");
  const Picture picture(folder.path() / "a.png");
  const Rect panel = heatmap_layout(map).layers;
  const int cell = panel.width / 1024;
  int blue = 0, orange = 0;
  for (int y = panel.y; y < panel.bottom(); ++y) {
    blue += picture.at(panel.x + 4 * cell, y) == Color{13, 71, 201};
    orange += picture.at(panel.x + 896 * cell, y) == Color{255, 128, 0};
  }
  EXPECT_GT(blue, panel.height / 3);
  EXPECT_LT(blue, panel.height * 4 / 5) << "dashed";
  EXPECT_EQ(blue, orange);
}

TEST(Heatmap, EqualEntriesGiveEqualPanels) {
  TempFolder folder;
  const KeptMap streaming = streaming_map();
  KeptMap random = streaming;
  random.name = "Random(threshold=1.0) with a name long enough to shrink " + std::string(300, 'x');
  random.recipe = "random(threshold=1.0) \xff";
  random.title.clear();
  write_heatmap(streaming, folder.path() / "a.png");
  write_heatmap(random, folder.path() / "b.png");
  const Picture a(folder.path() / "a.png"), b(folder.path() / "b.png");
  ASSERT_TRUE(a.good() && b.good());
  const Rect area = panel_area(streaming);
  EXPECT_EQ(differing_pixels(a, b, area), 0);
  EXPECT_GT(differing_pixels(a, b, {0, 0, a.width(), area.y - 40}), 0) << "the titles differ";
  random.kept[0] = 0;
  write_heatmap(random, folder.path() / "b.png");
  EXPECT_GT(differing_pixels(a, Picture(folder.path() / "b.png"), area), 0);
}

TEST(Heatmap, TakesAllSizes) {
  TempFolder folder;
  for (const auto& [tokens, layers, heads] :
       {std::array<int, 3>{1, 1, 1}, {7, 80, 8}, {1025, 2, 2}, {3000, 3, 1}}) {
    KeptMap map = streaming_map(tokens, layers, heads);
    write_heatmap(map, folder.path() / "a.png");
    EXPECT_TRUE(Picture(folder.path() / "a.png").good()) << tokens;
  }
}

TEST(Heatmap, RefusesWrongSizesAndPlaces) {
  KeptMap map = streaming_map();
  EXPECT_THROW(write_heatmap(map, "/proc/none/a.png"), UserError);
  map.kept.pop_back();
  EXPECT_THROW(count_kept(map), InternalError);
  EXPECT_THROW(write_heatmap(map, "/tmp/never.png"), InternalError);
  EXPECT_THROW(count_kept(KeptMap{}), InternalError);
}

}  // namespace
}  // namespace kvlab
