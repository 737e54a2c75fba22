// SentencePiece's tokenizer.model, in a folder of its own.
#include "fuzz/support.h"
#include "fuzz/targets.h"
#include "tokenizer/readers.h"

namespace kvlab::fuzz {

void fuzz_sentencepiece(Input input) {
  static const Folder folder;
  folder.write("tokenizer.model", text_of(input));
  std::shared_ptr<const Tokenizer> tokenizer;
  if (answers(folder.path(), [&] { tokenizer = open_hf_tokenizer(folder.path()); })) {
    use_tokenizer(*tokenizer);
  }
}

}  // namespace kvlab::fuzz
