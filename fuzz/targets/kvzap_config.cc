// config.json of a KVzap scorer, beside tensors of a linear one for a model of one layer and width 2.
#include "cache/scorer.h"
#include "format/safetensors.h"
#include "fuzz/support.h"
#include "fuzz/targets.h"

namespace kvlab::fuzz {

namespace {

const ScorerInfo& kvzap() {
  for (const ScorerInfo* info : registry_scorers()) {
    if (info->name == "kvzap") return *info;
  }
  throw std::logic_error("no scorer kvzap");
}

}  // namespace

void fuzz_kvzap_config(Input input) {
  static const Folder folder;
  static const bool written = [] {
    write_safetensors(folder.file("model.safetensors"),
                      {{"layers.0.weight", {1, 2}, {1, 2}}, {"layers.0.bias", {1}, {3}}});
    return true;
  }();
  require(written, "no tensors");
  folder.write("config.json", text_of(input));
  ScorerContext context;
  context.shape = {1, 2, 1, 1, 2};
  context.values = Values(kvzap().fields);
  context.model_path = folder.path();
  answers(folder.path(), [&] { kvzap().create(context); });
}

}  // namespace kvlab::fuzz
