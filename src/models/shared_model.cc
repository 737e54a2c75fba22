// What all architectures share: loading by name, and the output head.
#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/narrow_gemm.h"
#include "models/model.h"

namespace kvlab {

OutputHead::OutputHead(const Weights& weights, const std::string& tensor, int vocab, int hidden, DType type)
    : vocab_(vocab), hidden_(hidden) {
  std::vector<float> rows(static_cast<size_t>(std::min(kSlab, vocab)) * hidden);
  for (int first = 0; first < vocab; first += kSlab) {
    const int count = std::min(kSlab, vocab - first);
    weights.read_rows(tensor, first, count, rows.data());
    slabs_.emplace_back(rows.data(), count, hidden, type);
  }
}

void OutputHead::logits(int slab, const float* hidden, int rows, float* logits, GemmScratch& scratch) const {
  linear(slabs_[slab], hidden, hidden_, rows, logits, kSlab, scratch);
}

void OutputHead::narrow_logits(const float* hidden, int rows, float* logits) const {
  NarrowInput input;
  const bool narrow = narrow_blocks(slabs_[0]) > 0;
  if (narrow) prepare_narrow(slabs_[0].type(), hidden_, hidden, hidden_, rows, input);
  std::vector<GemmScratch> scratch(thread_count());
  parallel_tasks(slabs(), [&](int slab, int thread) {
    const PackedMatrix& w = slabs_[slab];
    float* out = logits + slab_first(slab);
    if (narrow) {
      narrow_linear(w, input, 0, narrow_blocks(w), out, vocab_, false);
    } else {
      linear(w, hidden, hidden_, rows, out, vocab_, scratch[thread]);
    }
  });
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

std::shared_ptr<const Model> load_model(const ModelFiles& files, DType type, Progress& progress) {
  std::string known;
  for (const ArchitectureInfo* info : registry_architectures()) {
    if (info->name == files.config.architecture) return info->load(files, type, progress);
    known += (known.empty() ? "" : ", ") + info->name;
  }
  throw UserError(files.weights->path() + ": architecture '" + files.config.architecture +
                  "' is not supported (known: " + known + ")");
}

}  // namespace kvlab
