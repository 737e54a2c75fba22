// The picture of what a method keeps of a document's first tokens.
#pragma once

#include <filesystem>
#include <string>

#include "reports/canvas.h"
#include "reports/kept_map.h"

namespace kvlab {

// The colours of the cells, for legends and tests.
inline constexpr Color kEvictedColor{211, 47, 47};
inline constexpr Color kPartlyKeptColor{255, 224, 80};
inline constexpr Color kKeptColor{46, 158, 68};
inline constexpr Color kProtectedColor{66, 133, 214};
inline constexpr Color kCompressibleColor{255, 255, 255};

// Red for 0, yellow for a half, green for 1.
Color fraction_color(double fraction);

// Where the panels lie; they depend on tokens, layers and heads only, never on the title.
struct HeatmapLayout {
  int width = 0, height = 0;  // of the picture
  Rect layers;                // layers × tokens, by the fraction of heads that keep the token
  Rect mean;                  // the same, mean over layers
  Rect binary;                // kept where at least half of the layer-head pairs keep the token
  Rect protection;
};

HeatmapLayout heatmap_layout(const KeptMap& map);

// All panels and what is between them. Two methods that keep and protect the same entries have the same
// pixels here.
Rect panel_area(const KeptMap& map);

// A row's name as the beginning of a file's: "Random(threshold=1.0)" gives "Random_threshold_1.0_". What file
// systems do not like becomes _ as well.
std::string file_stem(const std::string& display_name);

// "Random_threshold_1.0__compression_heatmap.png"
std::string heatmap_file_name(const std::string& display_name);

void write_heatmap(const KeptMap& map, const std::filesystem::path& path);

}  // namespace kvlab
