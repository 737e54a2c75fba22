// tokenizer.json, with tokenizer_config.json behind it after a NUL (which JSON never holds).
#include <filesystem>

#include "fuzz/support.h"
#include "fuzz/targets.h"
#include "tokenizer/readers.h"

namespace kvlab::fuzz {

void fuzz_hf_tokenizer(Input input) {
  static const Folder folder;
  const std::string_view text = text_of(input);
  const size_t nul = text.find('\0');
  folder.write("tokenizer.json", text.substr(0, nul));
  std::filesystem::remove(folder.file("tokenizer_config.json"));
  if (nul != text.npos) folder.write("tokenizer_config.json", text.substr(nul + 1));
  std::shared_ptr<const Tokenizer> tokenizer;
  if (answers(folder.path(), [&] { tokenizer = open_hf_tokenizer(folder.path()); })) {
    use_tokenizer(*tokenizer);
  }
}

}  // namespace kvlab::fuzz
