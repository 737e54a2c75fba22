#include "format/gguf.h"

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>  // ggml's

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "format/mapped_file.h"

namespace kvlab {
namespace {

// More elements than any tensor of a model of today by far; keeps products of sizes in range.
constexpr int64_t kMostElements = int64_t{1} << 40;

struct FreeGguf {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using GgufHandle = std::unique_ptr<gguf_context, FreeGguf>;

// Collects what ggml would print to standard error, one message a line, as "first; second".
void collect_log(ggml_log_level, const char* text, void* user_data) {
  auto& log = *static_cast<std::string*>(user_data);
  std::string_view line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
  if (line.empty()) return;
  if (!log.empty()) log += "; ";
  log += line;
}

// ggml has one log callback for the whole program. Ours is set only while a file is parsed, one file at a
// time.
class LogCapture {
 public:
  explicit LogCapture(std::string* log) : lock_(mutex()) {
    ggml_log_get(&old_callback_, &old_data_);
    ggml_log_set(collect_log, log);
  }
  ~LogCapture() { ggml_log_set(old_callback_, old_data_); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex only;
    return only;
  }
  std::lock_guard<std::mutex> lock_;
  ggml_log_callback old_callback_ = nullptr;
  void* old_data_ = nullptr;
};

GgufHandle parse(const MappedFile& file) {
  if (file.size() < 4 || std::memcmp(file.data(), GGUF_MAGIC, 4) != 0) {
    throw UserError(fmt::format("{} is not a GGUF file (it does not begin with \"GGUF\")", file.path()));
  }
  std::string log;
  GgufHandle context;
  {
    const LogCapture capture(&log);
    gguf_init_params params{};
    params.no_alloc = true;
    context.reset(gguf_init_from_buffer(file.data(), file.size(), params));
  }
  if (!context) {
    throw UserError(fmt::format("{}: damaged or unsupported GGUF file: {}", file.path(),
                                log.empty() ? "no reason given" : log));
  }
  return context;
}

struct Tensor {
  ggml_type type = GGML_TYPE_F32;
  std::vector<int64_t> shape;  // slowest first
  int64_t row_length = 0, rows = 0;
  size_t row_bytes = 0;
  const std::byte* data = nullptr;
};

class MappedGguf final : public GgufFile {
 public:
  explicit MappedGguf(const std::string& path) : file_(path), context_(parse(file_)) {
    const int64_t count = gguf_get_n_tensors(context_.get());
    for (int64_t i = 0; i < count; ++i) add_tensor(i);
  }

  const std::string& path() const override { return file_.path(); }
  void release() const override { file_.release(); }

  std::optional<std::string> text(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    if (gguf_get_kv_type(context_.get(), id) != GGUF_TYPE_STRING) throw wrong_type(key, id, "a string");
    return gguf_get_val_str(context_.get(), id);
  }

  std::optional<int64_t> integer(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    const gguf_type type = gguf_get_kv_type(context_.get(), id);
    if (!is_integer(type)) throw wrong_type(key, id, "an integer");
    return integer_at(key, type, gguf_get_val_data(context_.get(), id), 0);
  }

  std::optional<double> real(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    const gguf_type type = gguf_get_kv_type(context_.get(), id);
    if (is_integer(type)) return static_cast<double>(*integer(key));
    if (type != GGUF_TYPE_FLOAT32 && type != GGUF_TYPE_FLOAT64) throw wrong_type(key, id, "a number");
    const void* data = gguf_get_val_data(context_.get(), id);
    return type == GGUF_TYPE_FLOAT32 ? value_at<float>(data, 0) : value_at<double>(data, 0);
  }

  std::optional<bool> flag(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    if (gguf_get_kv_type(context_.get(), id) != GGUF_TYPE_BOOL) throw wrong_type(key, id, "a truth value");
    // Not gguf_get_val_bool: a damaged byte such as 7 is no valid bool to load.
    return value_at<uint8_t>(gguf_get_val_data(context_.get(), id), 0) != 0;
  }

  std::optional<std::vector<std::string>> texts(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    if (gguf_get_kv_type(context_.get(), id) != GGUF_TYPE_ARRAY ||
        gguf_get_arr_type(context_.get(), id) != GGUF_TYPE_STRING) {
      throw wrong_type(key, id, "an array of strings");
    }
    std::vector<std::string> result(gguf_get_arr_n(context_.get(), id));
    for (size_t i = 0; i < result.size(); ++i) result[i] = gguf_get_arr_str(context_.get(), id, i);
    return result;
  }

  std::optional<std::vector<int64_t>> integers(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    const bool is_array = gguf_get_kv_type(context_.get(), id) == GGUF_TYPE_ARRAY;
    const gguf_type type = is_array ? gguf_get_arr_type(context_.get(), id) : GGUF_TYPE_COUNT;
    if (!is_integer(type) && type != GGUF_TYPE_BOOL) throw wrong_type(key, id, "an array of integers");
    std::vector<int64_t> result(gguf_get_arr_n(context_.get(), id));
    const void* data = gguf_get_arr_data(context_.get(), id);
    for (size_t i = 0; i < result.size(); ++i) result[i] = integer_at(key, type, data, i);
    return result;
  }

  std::optional<std::vector<float>> floats(const std::string& key) const override {
    const int64_t id = gguf_find_key(context_.get(), key.c_str());
    if (id < 0) return std::nullopt;
    const bool is_array = gguf_get_kv_type(context_.get(), id) == GGUF_TYPE_ARRAY;
    if (!is_array || gguf_get_arr_type(context_.get(), id) != GGUF_TYPE_FLOAT32) {
      throw wrong_type(key, id, "an array of 32-bit floats");
    }
    std::vector<float> result(gguf_get_arr_n(context_.get(), id));
    if (!result.empty()) {
      std::memcpy(result.data(), gguf_get_arr_data(context_.get(), id), result.size() * sizeof(float));
    }
    return result;
  }

  std::vector<std::string> tensor_names() const override { return names_; }
  bool has_tensor(const std::string& name) const override { return tensors_.count(name) != 0; }
  std::vector<int64_t> tensor_shape(const std::string& name) const override { return at(name).shape; }
  std::string tensor_type(const std::string& name) const override {
    return ggml_get_type_traits(at(name).type)->type_name;
  }
  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override;
  void read_blocks(const std::string& name, int64_t first, int64_t count,
                   std::span<std::byte> out) const override;

 private:
  static bool is_integer(gguf_type type) {
    switch (type) {
      case GGUF_TYPE_BOOL:
      case GGUF_TYPE_UINT8:
      case GGUF_TYPE_INT8:
      case GGUF_TYPE_UINT16:
      case GGUF_TYPE_INT16:
      case GGUF_TYPE_UINT32:
      case GGUF_TYPE_INT32:
      case GGUF_TYPE_UINT64:
      case GGUF_TYPE_INT64:
        return true;
      default:
        return false;
    }
  }

  // ggml keeps values as bytes of any alignment, so they are copied out.
  template <typename T>
  static T value_at(const void* data, size_t index) {
    T value;
    std::memcpy(&value, static_cast<const char*>(data) + index * sizeof(T), sizeof(T));
    return value;
  }

  int64_t integer_at(const std::string& key, gguf_type type, const void* data, size_t index) const {
    switch (type) {
      case GGUF_TYPE_BOOL:
      case GGUF_TYPE_UINT8:
        return value_at<uint8_t>(data, index);
      case GGUF_TYPE_INT8:
        return value_at<int8_t>(data, index);
      case GGUF_TYPE_UINT16:
        return value_at<uint16_t>(data, index);
      case GGUF_TYPE_INT16:
        return value_at<int16_t>(data, index);
      case GGUF_TYPE_UINT32:
        return value_at<uint32_t>(data, index);
      case GGUF_TYPE_INT32:
        return value_at<int32_t>(data, index);
      case GGUF_TYPE_INT64:
        return value_at<int64_t>(data, index);
      default:
        break;
    }
    KVLAB_CHECK(type == GGUF_TYPE_UINT64);
    const uint64_t value = value_at<uint64_t>(data, index);
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw UserError(fmt::format("{}: key '{}': {} is too large", path(), key, value));
    }
    return static_cast<int64_t>(value);
  }

  UserError wrong_type(const std::string& key, int64_t id, const char* expected) const {
    const gguf_type type = gguf_get_kv_type(context_.get(), id);
    std::string found = gguf_type_name(type);
    if (type == GGUF_TYPE_ARRAY) {
      found = fmt::format("an array of {}", gguf_type_name(gguf_get_arr_type(context_.get(), id)));
    }
    return UserError(fmt::format("{}: key '{}' is {}, expected {}", path(), key, found, expected));
  }

  UserError tensor_error(const std::string& name, const std::string& what) const {
    return UserError(fmt::format("{}: tensor '{}': {}", path(), name, what));
  }

  // The bytes of rows [first, first + count).
  std::span<const std::byte> row_bytes(const std::string& name, int64_t first, int64_t count) const;
  const Tensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw UserError(fmt::format("{}: no tensor '{}'", path(), name));
    return found->second;
  }

  void add_tensor(int64_t id);
  void set_shape(const std::string& name, const int64_t* sizes, Tensor& tensor) const;
  void place(const std::string& name, uint64_t offset, Tensor& tensor) const;

  MappedFile file_;
  GgufHandle context_;
  std::vector<std::string> names_;
  std::map<std::string, Tensor> tensors_;
};

void MappedGguf::add_tensor(int64_t id) {
  const std::string name = gguf_get_tensor_name(context_.get(), id);
  Tensor tensor;
  tensor.type = gguf_get_tensor_type(context_.get(), id);
  if (tensor.type < 0 || tensor.type >= GGML_TYPE_COUNT) {
    throw tensor_error(name, fmt::format("unknown type {}", static_cast<int>(tensor.type)));
  }
  set_shape(name, gguf_get_tensor_ne(context_.get(), id), tensor);
  place(name, gguf_get_tensor_offset(context_.get(), id), tensor);
  if (!tensors_.emplace(name, std::move(tensor)).second) throw tensor_error(name, "appears twice");
  names_.push_back(name);
}

// `sizes` has GGML_MAX_DIMS entries, fastest first, 1 where the tensor has fewer dimensions.
void MappedGguf::set_shape(const std::string& name, const int64_t* sizes, Tensor& tensor) const {
  int64_t elements = 1;
  for (int i = 0; i < GGML_MAX_DIMS; ++i) {
    if (sizes[i] < 1) throw tensor_error(name, fmt::format("size {} of dimension {}", sizes[i], i));
    if (sizes[i] > kMostElements / elements) {
      throw tensor_error(name, fmt::format("more than {} elements", kMostElements));
    }
    elements *= sizes[i];
  }
  int dimensions = GGML_MAX_DIMS;
  while (dimensions > 1 && sizes[dimensions - 1] == 1) --dimensions;
  tensor.shape.assign(sizes, sizes + dimensions);
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  tensor.row_length = sizes[0];
  tensor.rows = elements / sizes[0];
}

void MappedGguf::place(const std::string& name, uint64_t offset, Tensor& tensor) const {
  const ggml_type_traits* traits = ggml_get_type_traits(tensor.type);
  const auto block = static_cast<int64_t>(traits->blck_size);
  if (block <= 0 || traits->type_size == 0) {
    throw tensor_error(name, fmt::format("type {} no longer exists", static_cast<int>(tensor.type)));
  }
  if (tensor.row_length % block != 0) {
    throw tensor_error(name, fmt::format("rows of {} numbers do not divide into the blocks of {} of type {}",
                                         tensor.row_length, block, traits->type_name));
  }
  // No overflow: at most 2^40 elements, and no type has more than 2^16 bytes a block.
  tensor.row_bytes = static_cast<size_t>(tensor.row_length / block) * traits->type_size;
  const uint64_t size = static_cast<uint64_t>(tensor.rows) * tensor.row_bytes;
  const uint64_t start = gguf_get_data_offset(context_.get());
  if (start > file_.size() || offset > file_.size() - start || size > file_.size() - start - offset) {
    throw tensor_error(name, fmt::format("{} bytes at offset {} + {} lie outside the file of {} bytes "
                                         "(is the download complete?)",
                                         size, start, offset, file_.size()));
  }
  tensor.data = file_.data() + start + offset;
}

std::span<const std::byte> MappedGguf::row_bytes(const std::string& name, int64_t first,
                                                 int64_t count) const {
  const Tensor& tensor = at(name);
  if (first < 0 || count < 0 || first > tensor.rows || count > tensor.rows - first) {
    throw tensor_error(name, fmt::format("rows {} + {} asked of {}", first, count, tensor.rows));
  }
  return {tensor.data + static_cast<size_t>(first) * tensor.row_bytes,
          static_cast<size_t>(count) * tensor.row_bytes};
}

void MappedGguf::read_blocks(const std::string& name, int64_t first, int64_t count,
                             std::span<std::byte> out) const {
  const std::span<const std::byte> source = row_bytes(name, first, count);
  KVLAB_CHECK(out.size() == source.size());
  std::copy(source.begin(), source.end(), out.begin());
}

void MappedGguf::read_rows(const std::string& name, int64_t first, int64_t count, float* out) const {
  const Tensor& tensor = at(name);
  const std::byte* source = row_bytes(name, first, count).data();
  if (count == 0) return;
  const ggml_type_traits* traits = ggml_get_type_traits(tensor.type);
  const size_t bytes = static_cast<size_t>(count) * tensor.row_bytes;
  if (tensor.type == GGML_TYPE_F32) {
    std::memcpy(out, source, bytes);
    return;
  }
  if (!traits->to_float) {
    throw tensor_error(name, fmt::format("type {} cannot be read as numbers", traits->type_name));
  }
  // A block's alignment divides its size, so the largest power of two in the size is enough. Files with a
  // small `general.alignment` may miss it; those rows are copied.
  const size_t alignment = traits->type_size & (~traits->type_size + 1);
  if (reinterpret_cast<uintptr_t>(source) % std::min<size_t>(alignment, 16) == 0) {
    traits->to_float(source, out, count * tensor.row_length);
    return;
  }
  const std::vector<std::byte> copy(source, source + bytes);
  traits->to_float(copy.data(), out, count * tensor.row_length);
}

}  // namespace

std::shared_ptr<const GgufFile> GgufFile::open(const std::string& path) {
  return std::make_shared<MappedGguf>(path);
}

}  // namespace kvlab
