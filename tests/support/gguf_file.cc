#include "support/gguf_file.h"

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>  // ggml's

#include <stdexcept>
#include <utility>

namespace kvlab::testing {
namespace {

ggml_type ggml_type_of(TinyGgufType type) {
  switch (type) {
    case TinyGgufType::kF32:
      return GGML_TYPE_F32;
    case TinyGgufType::kF16:
      return GGML_TYPE_F16;
    case TinyGgufType::kBF16:
      return GGML_TYPE_BF16;
    case TinyGgufType::kQ8_0:
      return GGML_TYPE_Q8_0;
    case TinyGgufType::kQ4_1:
      return GGML_TYPE_Q4_1;
  }
  throw std::invalid_argument("unknown type");
}

// Converts a tensor into `bytes` and adds it to the file under construction.
void add_tensor(gguf_context* gguf, ggml_context* ggml, const NamedTensor& tensor, ggml_type type,
                std::vector<std::byte>& bytes) {
  const bool matrix = tensor.shape.size() == 2;
  const int64_t columns = tensor.shape.back(), rows = matrix ? tensor.shape[0] : 1;
  if (columns % ggml_blck_size(type) != 0) {
    throw std::invalid_argument(fmt::format("{}: {} columns cannot be quantised", tensor.name, columns));
  }
  ggml_tensor* entry =
      matrix ? ggml_new_tensor_2d(ggml, type, columns, rows) : ggml_new_tensor_1d(ggml, type, columns);
  ggml_set_name(entry, tensor.name.c_str());
  bytes.resize(ggml_row_size(type, columns) * static_cast<size_t>(rows));
  ggml_quantize_chunk(type, tensor.values.data(), bytes.data(), 0, rows, columns, nullptr);
  entry->data = bytes.data();
  gguf_add_tensor(gguf, entry);
}

}  // namespace

GgufFileWriter::GgufFileWriter(std::string architecture)
    : architecture_(std::move(architecture)), gguf_(gguf_init_empty(), gguf_free) {
  gguf_set_val_str(gguf_.get(), "general.architecture", architecture_.c_str());
}

GgufFileWriter::~GgufFileWriter() = default;

void GgufFileWriter::name(const std::string& text) {
  gguf_set_val_str(gguf_.get(), "general.name", text.c_str());
}

void GgufFileWriter::integer(const std::string& key, int64_t value) {
  gguf_set_val_u32(gguf_.get(), full_key(key).c_str(), static_cast<uint32_t>(value));
}

void GgufFileWriter::real(const std::string& key, double value) {
  gguf_set_val_f32(gguf_.get(), full_key(key).c_str(), static_cast<float>(value));
}

void GgufFileWriter::flag(const std::string& key, bool value) {
  gguf_set_val_bool(gguf_.get(), full_key(key).c_str(), value);
}

void GgufFileWriter::flags(const std::string& key, const std::vector<bool>& values) {
  const std::vector<int8_t> bytes(values.begin(), values.end());
  gguf_set_arr_data(gguf_.get(), full_key(key).c_str(), GGUF_TYPE_BOOL, bytes.data(), bytes.size());
}

void GgufFileWriter::text(const std::string& key, const std::string& value) {
  gguf_set_val_str(gguf_.get(), full_key(key).c_str(), value.c_str());
}

void GgufFileWriter::write(const std::vector<NamedTensor>& tensors, TinyGgufType matrices,
                           const std::filesystem::path& file) {
  ggml_init_params params{};
  params.mem_size = ggml_tensor_overhead() * (tensors.size() + 1);
  params.no_alloc = true;
  const std::unique_ptr<ggml_context, decltype(&ggml_free)> ggml(ggml_init(params), ggml_free);
  std::vector<std::vector<std::byte>> bytes(tensors.size());  // ggml keeps pointers until the file is written
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool matrix = tensors[i].shape.size() == 2;
    add_tensor(gguf_.get(), ggml.get(), tensors[i], matrix ? ggml_type_of(matrices) : GGML_TYPE_F32,
               bytes[i]);
  }
  if (!gguf_write_to_file(gguf_.get(), file.c_str(), false)) {
    throw std::runtime_error("cannot write " + file.string());
  }
}

}  // namespace kvlab::testing
