#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "models/config.h"
#include "models/readers.h"

namespace kvlab {
namespace {

bool begins_with_gguf_magic(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, sizeof magic) && std::string_view(magic, 4) == "GGUF";
}

}  // namespace

ModelFiles open_model(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status)) {
    if (fs::exists(fs::path(path) / "config.json", ignored)) return open_hf_model(path);
    throw UserError(
        fmt::format("{} has no config.json (expected a Hugging Face folder with config.json and "
                    "model.safetensors, or a .gguf file)",
                    path));
  }
  if (!fs::exists(status)) {
    throw UserError(fmt::format("no such model: {} (expected a .gguf file or a Hugging Face folder)", path));
  }
  if (fs::path(path).extension() == ".gguf" || begins_with_gguf_magic(path)) return open_gguf_model(path);
  throw UserError(
      fmt::format("{} is not a model (expected a .gguf file, or a Hugging Face folder with "
                  "config.json and model.safetensors)",
                  path));
}

}  // namespace kvlab
