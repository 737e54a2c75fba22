// streaming_llm(sinks=4,window=128) and random_validation keep the same entries, so their pictures have the
// same panels, pixel for pixel, and the same statistics.
#include <cairo.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "cli/program.h"
#include "reports/heatmap.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;

struct Picture {
  int width = 0, height = 0;
  std::vector<uint32_t> pixels;
};

Picture read_png(const std::string& path) {
  cairo_surface_t* surface = cairo_image_surface_create_from_png(path.c_str());
  Picture picture;
  EXPECT_EQ(cairo_surface_status(surface), CAIRO_STATUS_SUCCESS) << path;
  picture.width = cairo_image_surface_get_width(surface);
  picture.height = cairo_image_surface_get_height(surface);
  picture.pixels.resize(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height));
  for (int y = 0; y < picture.height; ++y) {
    std::memcpy(picture.pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(picture.width),
                cairo_image_surface_get_data(surface) +
                    static_cast<ptrdiff_t>(y) * cairo_image_surface_get_stride(surface),
                static_cast<size_t>(picture.width) * 4);
  }
  cairo_surface_destroy(surface);
  return picture;
}

// A map of the sizes that the run has: all that the place of the panels depends on.
KeptMap map_of(int64_t layers, int64_t heads) {
  KeptMap map;
  map.tokens = 1024;
  map.layers = layers;
  map.heads = heads;
  map.kept.assign(static_cast<size_t>(layers * heads * 1024), 1);
  map.protected_token.assign(1024, 1);
  return map;
}

// The statistics printed under a picture's line, up to the next one.
std::string statistics(const std::string& out, const std::string& name) {
  const size_t line = out.find("\n" + name + ": ");
  EXPECT_NE(line, std::string::npos) << out;
  const size_t first = out.find('\n', line + 1) + 1;
  size_t end = first;
  while (out.compare(end, 2, "  ") == 0) end = out.find('\n', end) + 1;
  return out.substr(first, end - first);
}

TEST(Pictures, StreamingLlmAndRandomValidationAgreePixelForPixel) {
  testing::TinyModelOptions options;
  options.context = 1024;
  const testing::TinyWorkplace place(options);
  const ProgramResult result =
      run_kvlab({"compare", "--model", place.model(), "--data_path", place.documents("data.jsonl", {1024}),
                 "--tokens_field", "ids", "--dtype", "f32", "--threads", "1", "--output_dir",
                 place.path("out"), "--methods", "streaming_llm(sinks=4,window=128) random_validation"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string text = statistics(result.out, "StreamingLLM(sinks=4,window=128)");
  EXPECT_EQ(text, statistics(result.out, "Random(threshold=1.0)"));
  EXPECT_THAT(text, HasSubstr("Overall density: 12.89% (132/1024 kept)"));
  EXPECT_THAT(text, HasSubstr("Compressible region density: 0.00% (0/892 kept)"));

  const Picture a = read_png(place.path("out/StreamingLLM_sinks_4_window_128__compression_heatmap.png"));
  const Picture b = read_png(place.path("out/Random_threshold_1.0__compression_heatmap.png"));
  ASSERT_EQ(a.width, b.width);
  ASSERT_EQ(a.height, b.height);
  const Rect area = panel_area(map_of(options.layers, options.kv_heads));
  ASSERT_GT(area.width, 0);
  size_t different = 0;
  for (int y = static_cast<int>(area.y); y < area.y + area.height; ++y) {
    for (int x = static_cast<int>(area.x); x < area.x + area.width; ++x) {
      const size_t pixel = static_cast<size_t>(y) * static_cast<size_t>(a.width) + static_cast<size_t>(x);
      different += a.pixels.at(pixel) != b.pixels.at(pixel);
    }
  }
  EXPECT_EQ(different, 0u);
  EXPECT_NE(a.pixels, b.pixels) << "the titles should differ";
}

}  // namespace
}  // namespace kvlab
