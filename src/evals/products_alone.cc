#include "evals/products_alone.h"

#include <algorithm>
#include <vector>

#include "base/stopwatch.h"
#include "base/threads.h"
#include "base/uniform.h"
#include "kernels/gemm.h"
#include "models/layer_products.h"

namespace kvlab {

namespace {

constexpr int kSamples = 3;
constexpr float kWeightScale = 0.05f;

// Working memory of one thread, for a block of rows.
struct Work {
  Buffer<float> x, y;
  GemmScratch gemm;

  Work(int in, int out) : x(static_cast<size_t>(kGemmRows) * in), y(static_cast<size_t>(kGemmRows) * out) {
    fill_uniform(1, 0, static_cast<int64_t>(x.size()), 1.0f, x.data());
  }
};

PackedMatrix random_matrix(const ProductSize& size, DType type) {
  const auto read = [&](int first, int rows, float* out) {
    fill_uniform(2, static_cast<uint64_t>(first) * size.in, int64_t{rows} * size.in, kWeightScale, out);
  };
  return PackedMatrix(read, size.out, size.in, type);
}

Timing median_of(std::vector<Timing> samples) {
  std::sort(samples.begin(), samples.end(), [](const Timing& a, const Timing& b) { return a.wall < b.wall; });
  return samples[samples.size() / 2];
}

}  // namespace

BenchProducts layer_products_alone(const ModelConfig& config, DType type, int64_t rows, Progress& progress) {
  std::vector<PackedMatrix> matrices;
  BenchProducts result;
  int widest_in = 0, widest_out = 0;
  const int blocks = static_cast<int>((rows + kGemmRows - 1) / kGemmRows);
  result.rows = int64_t{blocks} * kGemmRows;
  for (const ProductSize& size : layer_products(config)) {
    matrices.push_back(random_matrix(size, type));
    widest_in = std::max(widest_in, size.in);
    widest_out = std::max(widest_out, size.out);
    result.flops += size.flops_per_row() * static_cast<double>(result.rows);
  }
  std::vector<Work> work;
  for (int thread = 0; thread < thread_count(); ++thread) work.emplace_back(widest_in, widest_out);
  const auto multiply = [&](int tasks) {
    parallel_tasks(tasks, [&](int, int thread) {
      Work& own = work[thread];
      for (const PackedMatrix& w : matrices)
        linear(w, own.x.data(), w.in(), kGemmRows, own.y.data(), w.out(), own.gemm);
    });
  };
  progress.begin("matrix products alone", kSamples);
  multiply(std::min(blocks, thread_count()));  // warms up
  std::vector<Timing> samples;
  for (int sample = 0; sample < kSamples && (sample == 0 || !stop_requested()); ++sample) {
    samples.push_back(timed([&] { multiply(blocks); }));
    progress.step(sample + 1);
  }
  progress.end();
  result.timing = median_of(std::move(samples));
  return result;
}

BenchProducts head_products_alone(const Model& model) {
  const OutputHead& head = model.head();
  const int threads = thread_count();
  std::vector<Work> work;
  for (int thread = 0; thread < threads; ++thread) work.emplace_back(head.hidden(), OutputHead::kSlab);
  const auto multiply = [&](int slabs) {
    parallel_tasks(threads, [&](int, int thread) {
      Work& own = work[thread];
      for (int slab = 0; slab < slabs; ++slab)
        head.logits(slab, own.x.data(), OutputHead::kRows, own.y.data(), own.gemm);
    });
  };
  multiply(1);  // warms up
  BenchProducts result;
  result.rows = int64_t{threads} * OutputHead::kRows;
  result.flops = head_flops(model.config()) * static_cast<double>(result.rows);
  result.timing = timed([&] { multiply(head.slabs()); });
  return result;
}

}  // namespace kvlab
