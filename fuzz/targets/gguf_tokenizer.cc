// The vocabulary of a GGUF file.
#include "fuzz/support.h"
#include "fuzz/targets.h"
#include "tokenizer/readers.h"

namespace kvlab::fuzz {

void fuzz_gguf_tokenizer(Input input) {
  static const Folder folder;
  const std::string path = folder.write("model.gguf", text_of(input));
  std::shared_ptr<const Tokenizer> tokenizer;
  if (answers(path, [&] { tokenizer = open_gguf_tokenizer(path); })) use_tokenizer(*tokenizer);
}

}  // namespace kvlab::fuzz
