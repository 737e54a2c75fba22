#include "format/weights.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "format/gguf.h"
#include "format/model_check.h"
#include "format/safetensors.h"

namespace kvlab {
namespace {

bool begins_with_gguf_magic(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, sizeof magic) && std::string_view(magic, 4) == "GGUF";
}

}  // namespace

std::vector<float> Weights::read(const std::string& name, const std::vector<int64_t>& expected) const {
  const std::vector<int64_t> found = shape(name);
  if (found != expected) {
    throw UserError(fmt::format("{}: tensor '{}' has shape {}, expected {}", path(), name, shape_text(found),
                                shape_text(expected)));
  }
  size_t elements = 1;
  for (const int64_t size : found) elements *= static_cast<size_t>(size);
  const int64_t rows = found.size() < 2 ? 1 : static_cast<int64_t>(elements) / found.back();
  std::vector<float> values(elements);
  read_rows(name, 0, rows, values.data());
  return values;
}

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
