// Writes GGUF files for tests, by ggml's own writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "format/safetensors.h"

struct gguf_context;
struct ggml_context;

namespace kvlab::testing {

// How the matrices of a GGUF file are stored; vectors are always f32. Quantised types need widths that are a
// multiple of 32 (else std::invalid_argument).
enum class TinyGgufType { kF32, kF16, kBF16, kQ8_0, kQ4_1 };

class GgufFileWriter {
 public:
  // Settings other than general.* go under "<architecture>.".
  explicit GgufFileWriter(std::string architecture);
  ~GgufFileWriter();
  GgufFileWriter(const GgufFileWriter&) = delete;
  GgufFileWriter& operator=(const GgufFileWriter&) = delete;

  void name(const std::string& text);  // general.name
  void integer(const std::string& key, int64_t value);
  void real(const std::string& key, double value);
  void flag(const std::string& key, bool value);
  void flags(const std::string& key, const std::vector<bool>& values);
  void text(const std::string& key, const std::string& value);

  // Writes the settings so far and the tensors. A tensor of two dimensions is a matrix.
  void write(const std::vector<NamedTensor>& tensors, TinyGgufType matrices,
             const std::filesystem::path& file);

 private:
  std::string full_key(const std::string& key) const { return architecture_ + "." + key; }

  std::string architecture_;
  std::unique_ptr<gguf_context, void (*)(gguf_context*)> gguf_;
};

}  // namespace kvlab::testing
