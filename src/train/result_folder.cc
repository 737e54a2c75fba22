#include "train/result_folder.h"

#include "format/trained_on.h"
#include "results/atomic_file.h"

namespace kvlab {

void write_result_folder(const TrainContext& context, const std::vector<NamedTensor>& tensors,
                         const nlohmann::ordered_json& config, const nlohmann::ordered_json& record) {
  TrainedOn seen(context.model->config().vocab);
  for (const TrainText& text : context.texts) seen.add(text.tokens, text.name);
  seen.write(trained_on_path(context.output.string()));
  write_atomically(context.output / "config.json", config.dump(2) + "\n");
  nlohmann::ordered_json whole = {{"format", "kvlab scorer 1"}};
  whole.update(context.provenance);
  whole.update(record);
  write_atomically(context.output / "kvlab.json", whole.dump(2) + "\n");
  write_safetensors((context.output / "model.safetensors").string(), tensors);
}

}  // namespace kvlab
