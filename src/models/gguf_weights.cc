#include "models/gguf_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace kvlab {
namespace {

// A tensor as the file has it.
struct Source {
  std::string name;
  RowOrder order = RowOrder::kSame;
};

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight", and the order of its rows. Names without
// a translation stay as they are.
std::pair<std::string, RowOrder> translate(const std::string& name, const GgufLayout& layout) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return {name, RowOrder::kSame};
  const std::string stem = name.substr(0, dot), end = name.substr(dot);
  for (const GgufName& pair : layout.model) {
    if (stem == pair.gguf) return {pair.hugging_face + end, pair.order};
  }
  const size_t after = stem.starts_with("blk.") ? stem.find('.', 4) : std::string::npos;
  if (after == std::string::npos) return {name, RowOrder::kSame};
  for (const GgufName& pair : layout.layers) {
    if (stem.compare(after + 1, std::string::npos, pair.gguf) == 0)
      return {layout.layer + stem.substr(4, after - 4) + "." + pair.hugging_face + end, pair.order};
  }
  return {name, RowOrder::kSame};
}

class GgufWeights final : public Weights {
 public:
  GgufWeights(std::shared_ptr<const GgufFile> file, const GgufLayout& layout, const ModelConfig& config)
      : file_(std::move(file)), head_dim_(config.head_dim), heads_(config.query_heads) {
    for (const std::string& name : file_->tensor_names()) {
      if (name == kRopeDivisors) continue;
      const auto [translated, order] = translate(name, layout);
      if (!sources_.emplace(translated, Source{name, order}).second)
        throw UserError(fmt::format("{}: tensor '{}' appears twice", file_->path(), name));
      names_.push_back(translated);
    }
  }

  const std::string& path() const override { return file_->path(); }
  bool has(const std::string& name) const override { return sources_.count(name) != 0; }
  std::vector<int64_t> shape(const std::string& name) const override {
    return file_->tensor_shape(source(name).name);
  }
  std::string type(const std::string& name) const override { return file_->tensor_type(source(name).name); }
  void release() const override { file_->release(); }
  std::vector<std::string> names() const override { return names_; }

  void read_rows(const std::string& name, int64_t first, int64_t count, float* out) const override {
    const Source& from = source(name);
    if (from.order == RowOrder::kSame) return file_->read_rows(from.name, first, count, out);
    const std::vector<int64_t> sizes = file_->tensor_shape(from.name);
    if (sizes.size() == 1) return read_vector(from, sizes[0], first, count, out);
    const int64_t row_length = check_rows(from.name, sizes, first, count);
    for (int64_t i = 0; i < count; ++i)
      file_->read_rows(from.name, file_row(from.order, first + i), 1, out + i * row_length);
  }

  bool read_blocks(const std::string& name, int64_t first, int64_t count,
                   std::span<std::byte> out) const override {
    const Source& from = source(name);
    if (from.order == RowOrder::kSame) {
      file_->read_blocks(from.name, first, count, out);
      return true;
    }
    check_rows(from.name, file_->tensor_shape(from.name), first, count);
    const size_t row = count > 0 ? out.size() / static_cast<size_t>(count) : 0;
    for (int64_t i = 0; i < count; ++i) {
      file_->read_blocks(from.name, file_row(from.order, first + i), 1,
                         out.subspan(static_cast<size_t>(i) * row, row));
    }
    return true;
  }

 private:
  const Source& source(const std::string& name) const {
    const auto found = sources_.find(name);
    if (found == sources_.end()) throw UserError(fmt::format("{}: no tensor '{}'", path(), name));
    return found->second;
  }

  // Throws UserError unless the tensor has whole heads and these rows; gives the length of a row.
  int64_t check_rows(const std::string& name, const std::vector<int64_t>& sizes, int64_t first,
                     int64_t count) const {
    if (sizes.size() != 2 || sizes[0] % head_dim_ != 0 || first < 0 || count < 0 ||
        first > sizes[0] - count) {
      throw UserError(fmt::format("{}: tensor '{}': rows {} + {} asked of shape {}, heads of {} rows", path(),
                                  name, first, count, shape_text(sizes), head_dim_));
    }
    return sizes[1];
  }

  // A bias: its elements are in the order of the matrix's rows.
  void read_vector(const Source& from, int64_t size, int64_t first, int64_t count, float* out) const {
    if (size % head_dim_ != 0 || first != 0 || count != 1) {
      throw UserError(fmt::format("{}: tensor '{}': row {} asked of a vector of {}, heads of {}", path(),
                                  from.name, first, size, head_dim_));
    }
    std::vector<float> values(static_cast<size_t>(size));
    file_->read_rows(from.name, 0, 1, values.data());
    for (int64_t i = 0; i < size; ++i) out[i] = values[file_row(from.order, i)];
  }

  // Where Hugging Face's row lies in the file.
  int64_t file_row(RowOrder order, int64_t row) const {
    const int64_t in_head = row % head_dim_;
    if (order == RowOrder::kRotaryPairs) {
      const int64_t half = head_dim_ / 2;
      return row - in_head + 2 * (in_head % half) + in_head / half;
    }
    const int64_t part = row / head_dim_, head = part / 3, kind = part % 3;  // head by head: q, k, v
    return (kind * heads_ + head) * head_dim_ + in_head;
  }

  std::shared_ptr<const GgufFile> file_;
  int64_t head_dim_, heads_;
  std::vector<std::string> names_;
  std::map<std::string, Source> sources_;  // by Hugging Face name
};

}  // namespace

std::shared_ptr<const Weights> open_gguf_weights(std::shared_ptr<const GgufFile> file,
                                                 const GgufLayout& layout, const ModelConfig& config) {
  return std::make_shared<GgufWeights>(std::move(file), layout, config);
}

}  // namespace kvlab
