#include "models/windows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "models/readers.h"

namespace kvlab {
namespace {

// Which layers the list `layer_types` gives a window to; nullopt: there is no list.
std::optional<std::vector<bool>> listed_windows(const JsonSettings& json, int layers) {
  const nlohmann::json* list = json.find("layer_types");
  if (!list) return std::nullopt;
  if (!list->is_array() || static_cast<int>(list->size()) != layers) {
    throw json.bad("layer_types", fmt::format("an array of {} texts, one for each layer", layers));
  }
  std::vector<bool> windows;
  for (const nlohmann::json& type : *list) {
    const std::string name = type.is_string() ? type.get<std::string>() : json_value_text(type);
    if (name != "full_attention" && name != "sliding_attention") {
      throw UserError(
          fmt::format("{}: layer_types holds '{}', which is not supported (known: "
                      "full_attention, sliding_attention)",
                      json.file(), name));
    }
    windows.push_back(name == "sliding_attention");
  }
  return windows;
}

void set_windows(ModelConfig& config, int64_t window, const std::function<bool(int)>& has_window) {
  config.windows.assign(config.layers, 0);
  for (int layer = 0; layer < config.layers; ++layer) {
    if (has_window(layer)) config.windows[layer] = window;
  }
  if (std::all_of(config.windows.begin(), config.windows.end(), [](int64_t w) { return w == 0; }))
    config.windows.clear();
}

}  // namespace

void read_windows(const JsonSettings& json, ModelConfig& config, const std::function<bool(int)>& has_window) {
  const auto window = json.integer("sliding_window", 1, kMostContext);
  if (!window) return;
  const auto listed = listed_windows(json, config.layers);
  set_windows(config, *window, [&](int layer) { return listed ? (*listed)[layer] : has_window(layer); });
}

void read_upper_windows(const JsonSettings& json, ModelConfig& config) {
  if (!json.flag("use_sliding_window").value_or(false)) return;
  const int64_t first = json.integer("max_window_layers", 0, kMostLayers).value_or(0);
  read_windows(json, config, [&](int layer) { return layer >= first; });
}

void read_windows(const GgufFile& file, const std::string& architecture, ModelConfig& config,
                  const std::function<bool(int)>& has_window) {
  const std::string key = architecture + ".attention.sliding_window";
  const auto window = file.integer(key);
  if (!window || *window == 0) return;
  if (*window < 0 || *window > kMostContext) {
    throw UserError(
        fmt::format("{}: key '{}' is {} (expected 0..{})", file.path(), key, *window, kMostContext));
  }
  const auto pattern = file.integers(key + "_pattern");
  if (pattern && static_cast<int>(pattern->size()) != config.layers) {
    throw UserError(fmt::format("{}: key '{}_pattern' has {} entries for {} layers", file.path(), key,
                                pattern->size(), config.layers));
  }
  set_windows(config, *window,
              [&](int layer) { return pattern ? (*pattern)[layer] != 0 : has_window(layer); });
}

}  // namespace kvlab
