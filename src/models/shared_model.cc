// What all architectures share: loading by name, and the output head.
#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "models/model.h"

namespace kvlab {

OutputHead::OutputHead(const Weights& weights, const std::string& tensor, int vocab, int hidden,
                       const LoadOptions& options)
    : vocab_(vocab), hidden_(hidden) {
  for (int first = 0; first < vocab; first += kSlab) {
    slabs_.emplace_back(weights, std::vector<Linear::Part>{{tensor, std::min(kSlab, vocab - first), first}},
                        hidden, options.type, options.decode);
  }
}

void OutputHead::logits(int slab, const float* hidden, int rows, float* logits, GemmScratch& scratch) const {
  linear(slabs_[slab].packed(), hidden, hidden_, rows, logits, kSlab, scratch);
}

void OutputHead::narrow_logits(const float* hidden, int rows, float* logits) const {
  struct Scratch {
    NarrowScratch narrow;
    GemmScratch gemm;
  };
  std::vector<Scratch> scratch(thread_count());
  parallel_tasks(slabs(), [&](int slab, int thread) {
    const Linear& w = slabs_[slab];
    float* out = logits + slab_first(slab);
    if (w.has_narrow()) {
      w.narrow(hidden, hidden_, rows, 0, 1, out, vocab_, false, scratch[thread].narrow);
    } else {
      linear(w.packed(), hidden, hidden_, rows, out, vocab_, scratch[thread].gemm);
    }
  });
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

std::shared_ptr<const Model> load_model(const ModelFiles& files, const LoadOptions& options,
                                        Progress& progress) {
  std::string known;
  for (const ArchitectureInfo* info : registry_architectures()) {
    if (info->name == files.config.architecture) return info->load(files, options, progress);
    known += (known.empty() ? "" : ", ") + info->name;
  }
  throw UserError(files.weights->path() + ": architecture '" + files.config.architecture +
                  "' is not supported (known: " + known + ")");
}

}  // namespace kvlab
