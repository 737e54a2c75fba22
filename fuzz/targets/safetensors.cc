// One safetensors file, and the index of several.
#include "format/safetensors.h"

#include "fuzz/support.h"
#include "fuzz/targets.h"

namespace kvlab::fuzz {

void fuzz_safetensors(Input input) {
  static const Folder folder;
  const std::string path = folder.write("model.safetensors", text_of(input));
  answers(path, [&] { read_tensors(*open_safetensors(path)); });
}

void fuzz_safetensors_index(Input input) {
  static const Folder folder;
  static const bool shards = [] {
    write_safetensors(folder.file("1.safetensors"), {{"a", {2, 2}, {1, 2, 3, 4}}, {"b", {1}, {5}}});
    write_safetensors(folder.file("2.safetensors"), {{"c", {1, 3}, {6, 7, 8}}});
    return true;
  }();
  require(shards, "no shards");
  folder.write("model.safetensors.index.json", text_of(input));
  // A mistake may be in a shard as well as in the index, so only the folder is sure to be named.
  answers(folder.path(), [&] { read_tensors(*open_safetensors(folder.path())); });
}

}  // namespace kvlab::fuzz
