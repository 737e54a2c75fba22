#include "train/kvzap_files.h"

#include <fmt/format.h>

#include "format/safetensors.h"
#include "results/atomic_file.h"

namespace kvlab {

namespace {

struct Part {
  SafetensorsWriter::Entry entry;
  std::span<const float> values;
};

std::vector<Part> parts_of(const std::vector<Surrogate>& layers) {
  std::vector<Part> parts;
  const auto add = [&](const std::string& name, const float* weight, const float* bias, int out, int in) {
    parts.push_back({{name + ".weight", SafetensorsWriter::Type::kF32, {out, in}},
                     {weight, static_cast<size_t>(out) * in}});
    parts.push_back(
        {{name + ".bias", SafetensorsWriter::Type::kF32, {out}}, {bias, static_cast<size_t>(out)}});
  };
  for (size_t l = 0; l < layers.size(); ++l) {
    const Surrogate& s = layers[l];
    const std::string name = fmt::format("layers.{}", l);
    if (s.hidden > 0) add(name + ".0", s.first_weight(), s.first_bias(), s.hidden, s.input);
    add(s.hidden > 0 ? name + ".2" : name, s.weight(), s.bias(), s.output, s.last_input());
  }
  return parts;
}

nlohmann::ordered_json config_of(const std::vector<Surrogate>& layers) {
  const Surrogate& s = layers.front();
  return {{"architectures", {"KVzapModel"}},
          {"dtype", "float32"},
          {"hidden_dim", s.hidden > 0 ? nlohmann::ordered_json(s.hidden) : nlohmann::ordered_json(nullptr)},
          {"input_dim", s.input},
          {"model_type", "kvzap"},
          {"n_modules", layers.size()},
          {"output_dim", s.output}};
}

}  // namespace

void write_kvzap(const std::filesystem::path& folder, const std::vector<Surrogate>& layers,
                 const nlohmann::ordered_json& record) {
  write_atomically(folder / "config.json", config_of(layers).dump(2) + "\n");
  write_atomically(folder / "kvlab.json", record.dump(2) + "\n");
  const std::vector<Part> parts = parts_of(layers);
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Part& part : parts) entries.push_back(part.entry);
  SafetensorsWriter writer((folder / "model.safetensors").string(), entries, {{"format", "pt"}});
  for (const Part& part : parts) writer.write(part.entry.name, 0, part.values);
  writer.finish();
}

}  // namespace kvlab
