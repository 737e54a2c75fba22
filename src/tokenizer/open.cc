#include <filesystem>

#include "base/error.h"
#include "tokenizer/readers.h"

namespace kvlab {

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& model_path) {
  std::error_code ignored;
  if (!std::filesystem::exists(model_path, ignored)) {
    throw UserError(
        model_path +
        ": no such file or folder (give a .gguf file, or a Hugging Face folder with tokenizer.json)");
  }
  if (std::filesystem::is_directory(model_path, ignored)) return open_hf_tokenizer(model_path);
  return open_gguf_tokenizer(model_path);
}

}  // namespace kvlab
