// Loading by name, and the output head.
#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/elementwise.h"
#include "models/architecture.h"
#include "models/decoder.h"
#include "models/model.h"

namespace kvlab {

OutputHead::OutputHead(const Weights& weights, const std::string& tensor, int vocab, int hidden,
                       const LoadOptions& options)
    : vocab_(vocab), hidden_(hidden) {
  for (int first = 0; first < vocab; first += kSlab) {
    const LinearTensors slab = {{{tensor, std::min(kSlab, vocab - first), first}}, {}, hidden};
    slabs_.emplace_back(weights, slab, options.type, options.decode);
  }
}

void OutputHead::logits(int slab, const float* hidden, int rows, float* logits, GemmScratch& scratch) const {
  linear(slabs_[slab].packed(), hidden, hidden_, rows, logits, kSlab, scratch);
}

// Working memory of one thread.
struct OutputHead::NarrowWork {
  NarrowScratch narrow;
  GemmScratch gemm;
  Buffer<float> logits;
};

void OutputHead::narrow_slab(int slab, const float* hidden, int rows, float* logits, int64_t stride,
                             NarrowWork& work) const {
  const Linear& w = slabs_[slab];
  if (w.has_narrow()) {
    w.narrow(hidden, hidden_, rows, 0, 1, logits, stride, false, work.narrow);
  } else {
    linear(w.packed(), hidden, hidden_, rows, logits, stride, work.gemm);
  }
}

void OutputHead::narrow_logits(const float* hidden, int rows, float* logits) const {
  std::vector<NarrowWork> work(thread_count());
  parallel_tasks(slabs(), [&](int slab, int thread) {
    narrow_slab(slab, hidden, rows, logits + slab_first(slab), vocab_, work[thread]);
  });
}

void OutputHead::narrow_top(const float* hidden, int rows, int32_t* top) const {
  std::vector<NarrowWork> work(thread_count());
  std::vector<Maximum> found(static_cast<size_t>(slabs()) * rows);
  parallel_tasks(slabs(), [&](int slab, int thread) {
    Buffer<float>& logits = work[thread].logits;
    logits.reserve_discard(static_cast<size_t>(rows) * kSlab);
    narrow_slab(slab, hidden, rows, logits.data(), kSlab, work[thread]);
    for (int r = 0; r < rows; ++r) {
      found[static_cast<size_t>(slab) * rows + r] =
          first_maximum(logits.data() + static_cast<int64_t>(r) * kSlab, slab_size(slab));
    }
  });
  for (int r = 0; r < rows; ++r) {
    Maximum best;
    for (int slab = 0; slab < slabs(); ++slab) {
      const Maximum& own = found[static_cast<size_t>(slab) * rows + r];
      if (own.index >= 0 && (best.index < 0 || own.value > best.value))
        best = {own.value, slab_first(slab) + own.index};
    }
    top[r] = best.index;
  }
}

size_t OutputHead::narrow_bytes(int rows) const {
  size_t bytes = 0;
  for (const Linear& slab : slabs_) bytes += slab.narrow_bytes(rows);
  return bytes;
}

void Model::check_tokens(std::span<const Segment> segments) const {
  for (const Segment& segment : segments) {
    for (const int32_t token : segment.tokens) {
      if (token >= 0 && token < config_.vocab) continue;
      throw UserError("token id " + std::to_string(token) + " is outside the model's vocabulary of " +
                      std::to_string(config_.vocab));
    }
  }
}

std::span<const float> Model::kept_output_projection(int layer) const {
  KVLAB_CHECK(layer >= 0 && layer < config_.layers);
  KeptProjection& kept = projections_[static_cast<size_t>(layer)];
  std::call_once(kept.made, [&] { kept.values = output_projection(layer); });
  return kept.values;
}

int64_t weight_bytes(const ModelFiles& files, DType type) {
  const ModelConfig& config = files.config;
  const DecoderTensors tensors =
      find_architecture(config.architecture, files.weights->path()).tensors(config);
  int64_t elements = 0;
  for (const TensorShape& tensor : tensor_shapes(tensors, config)) {
    const bool packed =
        tensor.shape.size() == 2 && (tensor.name != tensors.embedding || config.tied_embeddings);
    if (packed) elements += tensor.shape[0] * tensor.shape[1];
  }
  return elements * static_cast<int64_t>(element_size(type));
}

std::shared_ptr<const Model> load_model(const ModelFiles& files, const LoadOptions& options,
                                        Progress& progress) {
  const ArchitectureInfo& architecture = find_architecture(files.config.architecture, files.weights->path());
  return std::make_shared<const Decoder>(files, architecture.tensors(files.config), options, progress);
}

}  // namespace kvlab
