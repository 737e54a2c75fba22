// Reading safetensors: 8 bytes of header length, a JSON header with every tensor's type, shape and byte
// range, the data.
#include "format/safetensors.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "format/json_reader.h"
#include "format/mapped_file.h"
#include "tensor/dtype.h"

namespace kvlab {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kLengthBytes = 8;
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

// What an element may be stored as; all are read as floats. Integers are for counts and masks, not weights.
enum class Stored { kF32, kF16, kBF16, kI32, kI64, kU8, kBool };
struct StoredType {
  const char* spelling;  // in the header
  const char* name;      // as DType's
  Stored type;
  size_t size;
};
constexpr StoredType kStoredTypes[] = {
    {"F32", "f32", Stored::kF32, 4},    {"F16", "f16", Stored::kF16, 2}, {"BF16", "bf16", Stored::kBF16, 2},
    {"I32", "i32", Stored::kI32, 4},    {"I64", "i64", Stored::kI64, 8}, {"U8", "u8", Stored::kU8, 1},
    {"BOOL", "bool", Stored::kBool, 1},
};

struct Tensor {
  const MappedFile* file = nullptr;
  const StoredType* type = nullptr;
  std::vector<int64_t> shape;
  int64_t rows = 1, row_length = 1;
  const std::byte* data = nullptr;
};

using TensorTable = std::map<std::string, Tensor>;

UserError tensor_error(const MappedFile& file, const std::string& name, const std::string& what) {
  return UserError(fmt::format("{}: tensor '{}': {}", file.path(), name, what));
}

std::string_view header_of(const MappedFile& file) {
  if (file.size() < kLengthBytes) {
    throw UserError(fmt::format("{}: {} bytes are too few for safetensors", file.path(), file.size()));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint64_t>(file.data()[i]) << (8 * i);
  }
  if (length > kMostHeaderBytes || length > file.size() - kLengthBytes) {
    throw UserError(fmt::format("{}: header of {} bytes in a file of {} (damaged, or not safetensors)",
                                file.path(), length, file.size()));
  }
  return file.text().substr(kLengthBytes, length);
}

const StoredType* type_of(const MappedFile& file, const std::string& name, const nlohmann::json& entry) {
  const auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string()) throw tensor_error(file, name, "no dtype");
  const auto& text = found->get_ref<const std::string&>();
  for (const StoredType& type : kStoredTypes) {
    if (text == type.spelling) return &type;
  }
  throw tensor_error(file, name,
                     fmt::format("unsupported dtype {} (supported: F32, F16, BF16, I32, I64, U8, BOOL)",
                                 json_value_text(*found)));
}

// A list of numbers 0..2^62.
std::vector<int64_t> sizes_of(const MappedFile& file, const std::string& name, const nlohmann::json& entry,
                              const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) throw tensor_error(file, name, fmt::format("no {}", key));
  std::vector<int64_t> sizes;
  for (const nlohmann::json& item : *found) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > (uint64_t{1} << 62)) {
      throw tensor_error(file, name,
                         fmt::format("{} holds {} (expected an integer from 0)", key, json_value_text(item)));
    }
    sizes.push_back(item.get<int64_t>());
  }
  return sizes;
}

// The bytes of a tensor of this shape. A vector is one row; a number, a vector of one.
uint64_t set_shape(const MappedFile& file, const std::string& name, std::vector<int64_t> shape,
                   Tensor& tensor) {
  uint64_t elements = 1;
  for (const int64_t size : shape) {
    if (size < 1) throw tensor_error(file, name, fmt::format("empty shape {}", shape_text(shape)));
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements) ||
        elements > (uint64_t{1} << 60)) {
      throw tensor_error(file, name, fmt::format("shape {} is too large", shape_text(shape)));
    }
  }
  if (shape.empty()) shape.push_back(1);
  tensor.row_length = shape.back();
  tensor.rows = static_cast<int64_t>(elements) / tensor.row_length;
  tensor.shape = std::move(shape);
  return elements * tensor.type->size;
}

Tensor read_entry(const MappedFile& file, const std::string& name, const nlohmann::json& entry,
                  size_t data_start) {
  if (!entry.is_object()) throw tensor_error(file, name, "is not an object in the header");
  Tensor tensor;
  tensor.file = &file;
  tensor.type = type_of(file, name, entry);
  const uint64_t bytes = set_shape(file, name, sizes_of(file, name, entry, "shape"), tensor);
  const std::vector<int64_t> offsets = sizes_of(file, name, entry, "data_offsets");
  const size_t data_size = file.size() - data_start;
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    throw tensor_error(file, name, fmt::format("data_offsets {} (expected begin, end)", shape_text(offsets)));
  }
  if (static_cast<uint64_t>(offsets[1]) > data_size) {
    throw tensor_error(file, name,
                       fmt::format("bytes {}..{} lie outside the {} bytes of data (is the download "
                                   "complete?)",
                                   offsets[0], offsets[1], data_size));
  }
  if (static_cast<uint64_t>(offsets[1] - offsets[0]) != bytes) {
    throw tensor_error(
        file, name,
        fmt::format("shape {} of {} needs {} bytes, the header gives {}", shape_text(tensor.shape),
                    tensor.type->name, bytes, offsets[1] - offsets[0]));
  }
  tensor.data = file.data() + data_start + offsets[0];
  return tensor;
}

TensorTable read_header(const MappedFile& file) {
  const std::string_view header = header_of(file);
  const nlohmann::json parsed = parse_json(header, file.path());
  if (!parsed.is_object()) {
    throw UserError(
        fmt::format("{}: the header is {}, expected an object", file.path(), json_value_text(parsed)));
  }
  TensorTable table;
  for (const auto& [name, entry] : parsed.items()) {
    if (name == "__metadata__") continue;
    table.emplace(name, read_entry(file, name, entry, kLengthBytes + header.size()));
  }
  return table;
}

class SafetensorsWeights final : public Weights {
 public:
  explicit SafetensorsWeights(std::string path) : path_(std::move(path)) {}

  // All tensors of one file.
  void add_file(const std::string& path) {
    files_.push_back(std::make_unique<MappedFile>(path));
    tensors_.merge(read_header(*files_.back()));
  }

  // The tensors that an index file places in its shards.
  void add_index(const std::string& path);

  const std::string& path() const override { return path_; }
  bool has(const std::string& name) const override { return tensors_.count(name) != 0; }
  std::vector<int64_t> shape(const std::string& name) const override { return at(name).shape; }
  std::string type(const std::string& name) const override { return at(name).type->name; }
  void release() const override {
    for (const auto& file : files_) file->release();
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override;

 private:
  const Tensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw UserError(fmt::format("{}: no tensor '{}'", path_, name));
    return found->second;
  }

  std::string path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  TensorTable tensors_;
};

// A shard is a file beside its index: anything else could read files the user did not name.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

void SafetensorsWeights::add_index(const std::string& path) {
  const MappedFile index(path);
  const nlohmann::json parsed = parse_json(index.text(), path);
  const auto map = parsed.is_object() ? parsed.find("weight_map") : parsed.end();
  if (map == parsed.end() || !map->is_object()) {
    throw UserError(fmt::format("{}: no object 'weight_map'", path));
  }
  std::map<std::string, TensorTable> shards;
  for (const auto& [name, value] : map->items()) {
    if (!value.is_string() || !is_plain_file_name(value.get_ref<const std::string&>())) {
      throw UserError(fmt::format("{}: tensor '{}' is in {} (expected the name of a file beside the index)",
                                  path, name, json_value_text(value)));
    }
    const auto& shard = value.get_ref<const std::string&>();
    auto found = shards.find(shard);
    if (found == shards.end()) {
      files_.push_back(std::make_unique<MappedFile>((fs::path(path).parent_path() / shard).string()));
      found = shards.emplace(shard, read_header(*files_.back())).first;
    }
    auto node = found->second.extract(name);
    if (node.empty()) throw UserError(fmt::format("{}: tensor '{}' is not in {}", path, name, shard));
    tensors_.insert(std::move(node));
  }
}

template <typename T, typename ToFloat>
void convert(const std::byte* source, int64_t count, float* out, ToFloat to) {
  for (int64_t i = 0; i < count; ++i) {
    T value;  // data need not be aligned
    std::memcpy(&value, source + i * static_cast<int64_t>(sizeof value), sizeof value);
    out[i] = to(value);
  }
}

void convert(const std::byte* source, Stored type, int64_t count, float* out) {
  const auto number = [](auto value) { return static_cast<float>(value); };
  switch (type) {
    case Stored::kF32:
      std::memcpy(out, source, static_cast<size_t>(count) * sizeof(float));
      return;
    case Stored::kF16:
      return convert<uint16_t>(source, count, out, half_to_float);
    case Stored::kBF16:
      return convert<uint16_t>(source, count, out, [](uint16_t bits) { return to_float(BF16{bits}); });
    case Stored::kI32:
      return convert<int32_t>(source, count, out, number);
    case Stored::kI64:
      return convert<int64_t>(source, count, out, number);
    case Stored::kU8:
    case Stored::kBool:
      return convert<uint8_t>(source, count, out, number);
  }
}

void SafetensorsWeights::read_rows(const std::string& name, int64_t first, int64_t count, float* out) const {
  const Tensor& tensor = at(name);
  if (first < 0 || count < 0 || first > tensor.rows || count > tensor.rows - first) {
    throw tensor_error(*tensor.file, name,
                       fmt::format("rows {} + {} asked of {}", first, count, tensor.rows));
  }
  const size_t skipped = static_cast<size_t>(first * tensor.row_length) * tensor.type->size;
  convert(tensor.data + skipped, tensor.type->type, count * tensor.row_length, out);
}

}  // namespace

std::shared_ptr<const Weights> open_safetensors(const std::string& path) {
  // The weights' path is the file that was read, not its folder, so that errors name the file.
  std::error_code ignored;
  const bool folder = fs::is_directory(path, ignored);
  const fs::path single = folder ? fs::path(path) / kSingleFile : fs::path(path);
  const fs::path index = fs::path(path) / kIndexFile;
  if (!folder || fs::exists(single, ignored)) {
    auto weights = std::make_shared<SafetensorsWeights>(single.string());
    weights->add_file(single.string());
    return weights;
  }
  if (fs::exists(index, ignored)) {
    auto weights = std::make_shared<SafetensorsWeights>(index.string());
    weights->add_index(index.string());
    return weights;
  }
  throw UserError(fmt::format("{} has neither {} nor {}", path, kSingleFile, kIndexFile));
}

}  // namespace kvlab
