// safetensors files (one or sharded through model.safetensors.index.json), memory-mapped. F32, F16, BF16 and
// the integers I32, I64, U8 and BOOL, all read as floats (integers exactly up to 2^24).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "format/weights.h"

namespace kvlab {

// `path` is a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json.
// Throws UserError naming the file, the tensor and what is wrong.
std::shared_ptr<const Weights> open_safetensors(const std::string& path);

// Writes float32 tensors as one safetensors file (tests and dumps). Shapes are slowest first.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors);

// Writes a safetensors file bit by bit: the header follows from the shapes, so tensors need never be whole in
// memory. Until finish() the file has another name beside the final one, and is removed if that never comes.
// Throws UserError when the disk refuses.
class SafetensorsWriter {
 public:
  enum class Type { kF32, kI32, kU8 };
  struct Entry {
    std::string name;
    Type type = Type::kF32;
    std::vector<int64_t> shape;  // slowest first
    int64_t elements() const;
    int64_t bytes() const { return elements() * (type == Type::kU8 ? 1 : 4); }
  };
  SafetensorsWriter(std::string path, const std::vector<Entry>& entries,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Elements [first, first + values.size()) of a tensor of that type, in any order, each once.
  void write(const std::string& tensor, int64_t first, std::span<const float> values);
  void write(const std::string& tensor, int64_t first, std::span<const int32_t> values);
  void write(const std::string& tensor, int64_t first, std::span<const uint8_t> values);
  // Gives the file its name. All elements must have been written.
  void finish();

 private:
  struct Place {
    Entry entry;
    int64_t begin = 0;  // in the file
    int64_t written = 0;
  };
  void write_bytes(const std::string& tensor, Type type, int64_t first, const void* data, int64_t count);
  void put(const void* data, int64_t bytes, int64_t offset);
  [[noreturn]] void refuse() const;

  std::string path_, part_;
  int file_ = -1;
  std::map<std::string, Place> places_;
};

}  // namespace kvlab
