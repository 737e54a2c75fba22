#include "kernels/gemm.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/elementwise.h"

namespace kvlab {

using dnnl::memory;

struct PackedMatrix::Impl {
  int out = 0, in = 0;
  DType type = DType::kF32;
  int layout = 0;  // number of the packed layout, see layout_number()
  Buffer<std::byte, Account::kWeights> bytes;
  memory weight;  // a view of `bytes`, made once: it is only read afterwards
  std::optional<ColumnBlocks> column_blocks;
};

namespace {

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// One stream per thread, since a stream may not be used by two threads at once.
const dnnl::stream& stream() {
  thread_local const dnnl::stream stream(cpu());
  return stream;
}

// oneDNN plans a primitive for omp_get_max_threads() threads, which inside a parallel region is still the
// size of the whole team. The setting belongs to the calling thread's task, so no other thread sees the
// change.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadLimit() { omp_set_num_threads(before_); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

memory::data_type data_type(DType type) {
  return type == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

memory::desc rows_desc(int rows, int columns, int64_t stride, DType type) {
  return memory::desc({rows, columns}, data_type(type), memory::dims{stride, 1});
}

memory::desc any_layout(int in, int out, DType type) {
  return memory::desc({in, out}, data_type(type), memory::format_tag::any);
}

// What a primitive depends on.
struct Key {
  int out, in, type, layout, bucket, threads;
  int64_t x_stride, y_stride;
  auto operator<=>(const Key&) const = default;
};

dnnl::matmul::primitive_desc describe(const Key& key, const memory::desc& weight) {
  const ThreadLimit limit(key.threads);
  dnnl::primitive_attr attributes;
  // The caller's scratchpad is what lets several threads run one primitive at the same time.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  // Set here, so that an environment variable cannot lower the precision of f32.
  attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return dnnl::matmul::primitive_desc(
      cpu(), rows_desc(key.bucket, key.in, key.x_stride, static_cast<DType>(key.type)), weight,
      rows_desc(key.bucket, key.out, key.y_stride, DType::kF32), attributes);
}

bool is_reference(const dnnl::matmul::primitive_desc& description) {
  return std::string_view(description.impl_info_str()).find("ref") != std::string_view::npos;
}

// oneDNN's plain reference loops would be hundreds of times slower than padding to a bucket that has a
// kernel.
std::optional<dnnl::matmul::primitive_desc> try_describe(const Key& key, const memory::desc& weight) {
  try {
    auto description = describe(key, weight);
    if (!is_reference(description)) return description;
  } catch (const dnnl::error&) {
  }
  return std::nullopt;
}

// Equal layouts get equal numbers, so that matrices of one shape share their primitives.
int layout_number(const memory::desc& layout) {
  static std::mutex mutex;
  static std::vector<memory::desc> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = std::find(known.begin(), known.end(), layout);
  if (found != known.end()) return static_cast<int>(found - known.begin());
  known.push_back(layout);
  return static_cast<int>(known.size()) - 1;
}

struct Product {
  Key key;  // what it was made for, which may be a larger bucket or fewer threads than asked
  dnnl::matmul primitive;
  memory::desc x, y, workspace;
};

Product make_product(const Key& key, const dnnl::matmul::primitive_desc& description) {
  const ThreadLimit limit(key.threads);
  return {key, dnnl::matmul(description), description.src_desc(), description.dst_desc(),
          description.scratchpad_desc()};
}

// The primitive for `wanted`. When oneDNN has no kernel for it with this layout: one thread instead of all,
// and at last the 64-row problem the layout was chosen for, which always works.
Product create_product(const Key& wanted, const memory::desc& weight) {
  if (const auto description = try_describe(wanted, weight)) return make_product(wanted, *description);
  Key key = wanted;
  key.threads = 1;
  if (const auto description = try_describe(key, weight)) return make_product(key, *description);
  key.bucket = kGemmRows;
  key.x_stride = key.in;
  key.y_stride = key.out;
  return make_product(key, describe(key, weight));
}

// Products live as long as the program: there are a few per shape of the models loaded.
const Product& product(const Key& key, const memory::desc& weight) {
  static std::shared_mutex mutex;
  static std::map<Key, Product> products;
  {
    const std::shared_lock<std::shared_mutex> lock(mutex);
    const auto found = products.find(key);
    if (found != products.end()) return found->second;
  }
  const std::unique_lock<std::shared_mutex> lock(mutex);
  const auto found = products.find(key);  // another thread may have been first
  if (found != products.end()) return found->second;
  return products.emplace(key, create_product(key, weight)).first->second;
}

int bucket_of(int rows) {
  for (const int bucket : {1, 8, 16, 32}) {
    if (rows <= bucket) return bucket;
  }
  return kGemmRows;
}

// x as the primitive wants it: its type, its number of rows, rows beyond `rows` zero.
const void* prepare_x(const Key& key, const float* x, int64_t x_stride, int rows, GemmScratch& scratch) {
  const bool f32 = static_cast<DType>(key.type) == DType::kF32;
  if (f32 && rows == key.bucket && x_stride == key.x_stride) return x;
  const size_t used = static_cast<size_t>(rows) * key.in;
  const size_t size = static_cast<size_t>(key.bucket) * key.in;
  if (f32) {
    scratch.x.reserve_discard(size);
    for (int r = 0; r < rows; ++r)
      std::copy_n(x + r * x_stride, key.in, scratch.x.data() + r * int64_t{key.in});
    std::fill(scratch.x.data() + used, scratch.x.data() + size, 0.0f);
    return scratch.x.data();
  }
  scratch.x16.reserve_discard(size);
  for (int r = 0; r < rows; ++r) to_bf16(x + r * x_stride, key.in, scratch.x16.data() + r * int64_t{key.in});
  std::fill(scratch.x16.data() + used, scratch.x16.data() + size, BF16{});
  return scratch.x16.data();
}

void run(const Product& product, const PackedMatrix::Impl& w, const void* x, float* y, GemmScratch& scratch) {
  scratch.workspace.reserve_discard(std::max<size_t>(product.workspace.get_size(), 1));
  product.primitive.execute(
      stream(), {{DNNL_ARG_SRC, memory(product.x, cpu(), const_cast<void*>(x))},
                 {DNNL_ARG_WEIGHTS, w.weight},
                 {DNNL_ARG_DST, memory(product.y, cpu(), y)},
                 {DNNL_ARG_SCRATCHPAD, memory(product.workspace, cpu(), scratch.workspace.data())}});
}

// rows <= kGemmRows.
void linear_block(const PackedMatrix::Impl& w, const float* x, int64_t x_stride, int rows, float* y,
                  int64_t y_stride, GemmScratch& scratch) {
  const int bucket = bucket_of(rows);
  const bool full = rows == bucket;
  // Padded rows are read from and written to scratch, whose rows are dense.
  const Key key = {.out = w.out,
                   .in = w.in,
                   .type = static_cast<int>(w.type),
                   .layout = w.layout,
                   .bucket = bucket,
                   .threads = omp_in_parallel() ? 1 : omp_get_max_threads(),
                   .x_stride = full && w.type == DType::kF32 && rows > 1 ? x_stride : w.in,
                   .y_stride = full && rows > 1 ? y_stride : w.out};
  const Product& chosen = product(key, w.weight.get_desc());
  // A one-row problem has no stride, so its row never needs a copy.
  const bool one_row = chosen.key.bucket == 1;
  const void* source = prepare_x(chosen.key, x, one_row ? w.in : x_stride, rows, scratch);
  if (rows == chosen.key.bucket && (one_row || y_stride == chosen.key.y_stride)) {
    run(chosen, w, source, y, scratch);
    return;
  }
  scratch.y.reserve_discard(static_cast<size_t>(chosen.key.bucket) * w.out);
  run(chosen, w, source, scratch.y.data(), scratch);
  for (int r = 0; r < rows; ++r) std::copy_n(scratch.y.data() + r * int64_t{w.out}, w.out, y + r * y_stride);
}

// The layout oneDNN prefers for 64 rows on one thread, the hot path.
memory::desc preferred_layout(int out, int in, DType type) {
  const Key key = {.out = out,
                   .in = in,
                   .type = static_cast<int>(type),
                   .layout = 0,
                   .bucket = kGemmRows,
                   .threads = 1,
                   .x_stride = in,
                   .y_stride = out};
  const memory::desc any = any_layout(in, out, type);
  if (const auto description = try_describe(key, any)) return description->weights_desc();
  if (type == DType::kBF16) {
    throw UserError("this CPU has no fast bf16 matrix product: use float32 weights");
  }
  return describe(key, any).weights_desc();
}

// What column_blocks() can describe: within each block of columns the blocks of inputs follow each other
// without a gap, so that all inputs of a column block are in order.
std::optional<ColumnBlocks> column_blocks_of(const memory::desc& layout, const void* data) {
  constexpr memory::dim kInput = 0, kColumn = 1;  // the dimensions of [in][out]
  if (layout.get_format_kind() != memory::format_kind::blocked || layout.get_submemory_offset() != 0) {
    return std::nullopt;
  }
  const memory::dims sizes = layout.get_inner_blks(), order = layout.get_inner_idxs();
  const bool pairs = order == memory::dims{kInput, kColumn, kInput} && sizes[2] == 2;
  if (!pairs && order != memory::dims{kInput, kColumn}) return std::nullopt;
  const memory::dims padded = layout.get_padded_dims(), strides = layout.get_strides();
  const memory::dim columns = sizes[1], inputs = sizes[0] * (pairs ? 2 : 1);
  if (strides[kInput] != inputs * columns && padded[kInput] != inputs) return std::nullopt;
  const memory::dim block = padded[kInput] * columns;
  if (strides[kColumn] < block && padded[kColumn] != columns) return std::nullopt;
  return ColumnBlocks{.data = data,
                      .block_columns = static_cast<int>(columns),
                      .blocks = static_cast<int>(padded[kColumn] / columns),
                      .block_stride = strides[kColumn],
                      .k_padded = static_cast<int>(padded[kInput]),
                      .pairs = pairs};
}

// Rows packed at a time: whole blocks of columns in every layout there is.
constexpr int kPackRows = 256;

// Rows [first, first + count) of the weight as a part of the packed one; nullopt when the layout has no such
// part.
std::optional<memory::desc> piece_of(const memory::desc& layout, int first, int count, int out, int in) {
  if (count > out - first) count = out - first;
  try {
    return layout.submemory_desc({in, count}, {0, first});
  } catch (const dnnl::error&) {
    return std::nullopt;
  }
}

void pack_rows(const float* rows, int count, int in, const memory::desc& to, std::byte* packed) {
  // The multiplication wants [in][out]: the same memory read with exchanged strides.
  memory source(memory::desc({in, count}, memory::data_type::f32, memory::dims{1, in}), cpu(),
                const_cast<float*>(rows));
  memory destination(to, cpu(), packed);
  dnnl::reorder(source, destination).execute(stream(), source, destination);
}

}  // namespace

bool cpu_has_bf16_dot() {
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

PackedMatrix::PackedMatrix(int out, int in, DType type) : impl_(std::make_unique<Impl>()) {
  KVLAB_CHECK(out > 0 && in > 0);
  KVLAB_CHECK(type == DType::kF32 || type == DType::kBF16);
  const memory::desc layout = preferred_layout(out, in, type);
  impl_->out = out;
  impl_->in = in;
  impl_->type = type;
  impl_->layout = layout_number(layout);
  impl_->bytes = Buffer<std::byte, Account::kWeights>(layout.get_size());
  impl_->weight = memory(layout, cpu(), impl_->bytes.data());
  impl_->column_blocks = column_blocks_of(layout, impl_->bytes.data());
}

PackedMatrix::PackedMatrix(const float* weight, int out, int in, DType type) : PackedMatrix(out, in, type) {
  pack_rows(weight, out, in, impl_->weight.get_desc(), impl_->bytes.data());
}

PackedMatrix::PackedMatrix(const ReadRows& read, int out, int in, DType type) : PackedMatrix(out, in, type) {
  const int pieces = (out + kPackRows - 1) / kPackRows;
  if (pieces > 1 && !piece_of(impl_->weight.get_desc(), kPackRows, kPackRows, out, in)) {
    std::vector<float> all(static_cast<size_t>(out) * in);  // a layout that does not lie in pieces
    read(0, out, all.data());
    pack_rows(all.data(), out, in, impl_->weight.get_desc(), impl_->bytes.data());
    return;
  }
  std::vector<std::vector<float>> rows(omp_get_max_threads());
  parallel_tasks(pieces, [&](int piece, int thread) {
    const int first = piece * kPackRows, count = std::min(kPackRows, out - first);
    rows[thread].resize(static_cast<size_t>(kPackRows) * in);
    read(first, count, rows[thread].data());
    const memory::desc part =
        pieces == 1 ? impl_->weight.get_desc() : *piece_of(impl_->weight.get_desc(), first, count, out, in);
    pack_rows(rows[thread].data(), count, in, part, impl_->bytes.data());
  });
}

size_t PackedMatrix::packed_bytes(int out, int in, DType type) {
  return preferred_layout(out, in, type).get_size();
}

PackedMatrix::~PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&& other) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&& other) noexcept = default;

int PackedMatrix::out() const {
  return impl_->out;
}
int PackedMatrix::in() const {
  return impl_->in;
}
DType PackedMatrix::type() const {
  return impl_->type;
}
size_t PackedMatrix::bytes() const {
  return impl_->bytes.bytes();
}

const std::optional<ColumnBlocks>& PackedMatrix::column_blocks() const {
  return impl_->column_blocks;
}

void linear(const PackedMatrix& w, const float* x, int64_t x_stride, int rows, float* y, int64_t y_stride,
            GemmScratch& scratch) {
  KVLAB_CHECK(rows <= 1 || (x_stride >= w.in() && y_stride >= w.out()));
  for (int first = 0; first < rows; first += kGemmRows) {
    linear_block(w.impl(), x + first * x_stride, x_stride, std::min(kGemmRows, rows - first),
                 y + first * y_stride, y_stride, scratch);
  }
}

}  // namespace kvlab
