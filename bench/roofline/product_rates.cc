#include "bench/roofline/product_rates.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/uniform.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "models/layer_products.h"
#include "models/model.h"

namespace kvlab::roofline {

namespace {

struct ThreadWork {
  GemmScratch gemm;
  std::vector<float> x, y;
};

std::vector<ThreadWork> make_work(int threads, int in, int64_t out) {
  std::vector<ThreadWork> work(threads);
  for (ThreadWork& own : work) {
    own.x = uniform_floats(1, static_cast<size_t>(kGemmRows) * in, 1.0f);
    own.y.resize(kGemmRows * out);
  }
  return work;
}

PackedMatrix random_matrix(int out, int in, DType type) {
  return {uniform_floats(2, static_cast<size_t>(out) * in, 0.05f).data(), out, in, type};
}

Json layer_product(const ProductSize& size, DType type, int threads, double peak) {
  const PackedMatrix w = random_matrix(size.out, size.in, type);
  auto work = make_work(threads, size.in, size.out);
  const Rate rate = repeat_on_threads(threads, [&](int thread) {
    ThreadWork& own = work[thread];
    linear(w, own.x.data(), size.in, kGemmRows, own.y.data(), size.out, own.gemm);
  });
  return rate_row(size.name, fmt::format("{}x{}", size.out, size.in), rate, kGemmRows * size.flops_per_row(),
                  0, peak);
}

std::vector<PackedMatrix> random_head(const ModelConfig& config, DType type) {
  std::vector<PackedMatrix> slabs;
  for (int first = 0; first < config.vocab; first += OutputHead::kSlab) {
    slabs.push_back(random_matrix(std::min(OutputHead::kSlab, config.vocab - first), config.hidden, type));
  }
  return slabs;
}

// All slabs of the vocabulary; with the statistics that losses are made of, or the product alone.
Json head_product(const ModelConfig& config, const std::vector<PackedMatrix>& slabs, int threads, bool losses,
                  double peak) {
  auto work = make_work(threads, config.hidden, OutputHead::kSlab);
  const Rate rate = repeat_on_threads(threads, [&](int thread) {
    ThreadWork& own = work[thread];
    std::vector<HeadState> states(kGemmRows);
    for (size_t slab = 0; slab < slabs.size(); ++slab) {
      linear(slabs[slab], own.x.data(), config.hidden, kGemmRows, own.y.data(), OutputHead::kSlab, own.gemm);
      for (int r = 0; losses && r < kGemmRows; ++r) {
        head_update(states[r], own.y.data() + static_cast<int64_t>(r) * OutputHead::kSlab,
                    static_cast<int32_t>(slab) * OutputHead::kSlab, slabs[slab].out(), config.vocab / 2);
      }
    }
    keep(states[0].max);
  });
  return rate_row(losses ? "output head with losses" : "output head",
                  fmt::format("{}x{}", config.vocab, config.hidden), rate, kGemmRows * head_flops(config), 0,
                  peak);
}

}  // namespace

std::vector<Json> product_rates(const ModelConfig& config, DType type, int threads, const Peaks& peaks) {
  const double peak = peaks.flops(type);
  std::vector<Json> rows;
  for (const ProductSize& size : layer_products(config)) {
    rows.push_back(layer_product(size, type, threads, peak));
  }
  const auto head = random_head(config, type);
  rows.push_back(head_product(config, head, threads, false, peak));
  rows.push_back(head_product(config, head, threads, true, peak));
  return rows;
}

Json rate_row(const std::string& kernel, const std::string& size, const Rate& rate, double flops,
              double bytes, double peak) {
  const double per_second = rate.median_per_second() * (flops > 0 ? flops : bytes);
  Json row = {{"kernel", kernel},
              {"size", size},
              {"rate", per_second * 1e-9},
              {"unit", flops > 0 ? "GFLOPS" : "GB/s"},
              {"share", per_second / peak}};
  add_cpu(row, rate.samples);
  return row;
}

std::vector<Column> rate_columns() {
  return with_cpu({{"kernel", "kernel"},
                   {"size", "size"},
                   {"rate", "median", Format::kRate},
                   {"unit", "unit"},
                   {"share", "of the peak", Format::kPercent}});
}

}  // namespace kvlab::roofline
