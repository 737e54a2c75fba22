// GGUF files through ggml: metadata by key with checked types, and tensors of every ggml type, memory-mapped.
// The tensor ranges are compared with the file's length, which ggml does not do.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/weights.h"

namespace kvlab {

class GgufFile {
 public:
  // Throws UserError naming the file and what is wrong (not GGUF, truncated, tensor out of range, ...).
  static std::shared_ptr<const GgufFile> open(const std::string& path);
  virtual ~GgufFile() = default;

  virtual const std::string& path() const = 0;
  // Metadata. nullopt: no such key. UserError naming the file and the key: another type. Any integer type is
  // taken as integer, integer and float types as real.
  virtual std::optional<std::string> text(const std::string& key) const = 0;
  virtual std::optional<int64_t> integer(const std::string& key) const = 0;
  virtual std::optional<double> real(const std::string& key) const = 0;
  virtual std::optional<bool> flag(const std::string& key) const = 0;
  virtual std::optional<std::vector<std::string>> texts(const std::string& key) const = 0;
  virtual std::optional<std::vector<int64_t>> integers(
      const std::string& key) const = 0;  // or flags, as 0 and 1
  virtual std::optional<std::vector<float>> floats(const std::string& key) const = 0;

  virtual void release() const = 0;  // see MappedFile

  virtual std::vector<std::string> tensor_names() const = 0;  // as in the file
  virtual bool has_tensor(const std::string& name) const = 0;
  virtual std::vector<int64_t> tensor_shape(const std::string& name) const = 0;  // slowest first
  virtual std::string tensor_type(const std::string& name) const = 0;            // "q4_1"
  virtual void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const = 0;
  // The rows' bytes, blocks of tensor_type(name); `out` has their size.
  virtual void read_blocks(const std::string& name, int64_t first, int64_t count,
                           std::span<std::byte> out) const = 0;
};

}  // namespace kvlab
