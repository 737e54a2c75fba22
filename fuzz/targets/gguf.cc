// GGUF files: every getter on every key, then the model with its tensors.
#include "format/gguf.h"
#include "models/readers.h"

#include "fuzz/support.h"
#include "fuzz/targets.h"

namespace kvlab::fuzz {

namespace {

// What kvlab asks for, and one key of each type, which the seed `types.gguf` has.
constexpr const char* kKeys[] = {"general.architecture",
                                 "llama.block_count",
                                 "llama.rope.freq_base",
                                 "llama.attention.layer_norm_rms_epsilon",
                                 "tokenizer.ggml.tokens",
                                 "tokenizer.ggml.token_type",
                                 "u8",
                                 "i8",
                                 "u16",
                                 "i16",
                                 "u32",
                                 "i32",
                                 "u64",
                                 "i64",
                                 "f32",
                                 "f64",
                                 "bool",
                                 "str",
                                 "strs",
                                 "u8s",
                                 "i64s",
                                 "f32s",
                                 "bools",
                                 "none"};

void ask(const GgufFile& file, const std::string& path) {
  for (const char* key : kKeys) {
    answers(path, [&] { file.text(key); });
    answers(path, [&] { file.integer(key); });
    answers(path, [&] { file.real(key); });
    answers(path, [&] { file.flag(key); });
    answers(path, [&] { file.texts(key); });
    answers(path, [&] { file.integers(key); });
  }
  for (const std::string& name : file.tensor_names()) {
    require(file.has_tensor(name) && !file.tensor_shape(name).empty() && !file.tensor_type(name).empty(),
            "a tensor that is not there: " + name);
  }
}

}  // namespace

void fuzz_gguf(Input input) {
  static const Folder folder;
  const std::string path = folder.write("model.gguf", text_of(input));
  const bool opened = answers(path, [&] { ask(*GgufFile::open(path), path); });
  if (opened) answers(path, [&] { read_tensors(*open_gguf_model(path).weights); });
}

}  // namespace kvlab::fuzz
