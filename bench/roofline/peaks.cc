#include "bench/roofline/peaks.h"

#include <unistd.h>

#include <algorithm>

#include "bench/roofline/peak_loops.h"
#include "tensor/buffer.h"

namespace kvlab::roofline {

namespace {

Peak best_of(const Rate& rate, double amount_per_call) {
  return {rate.best_per_second() * amount_per_call, rate.samples};
}

Peak f32_peak(int threads) {
  constexpr int64_t kSteps = 1 << 20;
  const Rate rate = repeat_on_threads(threads, [](int) { keep(multiply_add_f32(kSteps)); });
  return best_of(rate, static_cast<double>(kSteps * flops_per_step_f32()));
}

std::optional<Peak> bf16_peak(int threads) {
  if (!has_bf16_instructions()) return std::nullopt;
  constexpr int64_t kSteps = 1 << 20;
  const Rate rate = repeat_on_threads(threads, [](int) { keep(multiply_add_bf16(kSteps)); });
  return best_of(rate, static_cast<double>(kSteps * flops_per_step_bf16()));
}

// Floats that no cache holds; divisible among up to 1024 threads in whole loops of sum_floats().
int64_t stream_floats() {
  const int64_t l3 = std::max<int64_t>(0, sysconf(_SC_LEVEL3_CACHE_SIZE));
  const int64_t bytes = std::max<int64_t>(int64_t{512} << 20, 8 * l3);
  return bytes / 4 / (512 * 1024) * (512 * 1024);
}

// Memory as that of weights, in huge pages: with small ones finding the pages would be measured.
using StreamBuffer = Buffer<float, Account::kWeights>;

Peak stream_peak(const StreamBuffer& buffer, int threads) {
  const int64_t share = static_cast<int64_t>(buffer.size()) / threads / 512 * 512;
  const Rate rate = repeat_on_threads(
      threads, [&](int thread) { keep(sum_floats(buffer.data() + thread * share, share)); });
  return best_of(rate, static_cast<double>(share) * 4);
}

Json row_of(const char* what, const char* unit, const std::optional<Peak>& peak) {
  Json row = {{"what", what}, {"unit", unit}};
  if (!peak) {
    row["what"] = std::string(what) + ": no bf16 instructions";
    return row;
  }
  row["rate"] = peak->per_second * 1e-9;
  add_cpu(row, peak->samples);
  return row;
}

bool clean(const Peaks& peaks) {
  return (!peaks.bf16_all || peaks.bf16_all->samples.clean()) && peaks.f32_all.samples.clean() &&
         peaks.stream_all.samples.clean();
}

}  // namespace

double Peaks::flops(DType type) const {
  return type == DType::kBF16 && bf16_all ? bf16_all->per_second : f32_all.per_second;
}

Peaks measure_peaks(int threads, Report& report) {
  const bool several = threads > 1;
  Peaks peaks;
  peaks.bf16_one = bf16_peak(1);
  peaks.bf16_all = several ? bf16_peak(threads) : peaks.bf16_one;
  peaks.f32_one = f32_peak(1);
  peaks.f32_all = several ? f32_peak(threads) : peaks.f32_one;
  StreamBuffer buffer(static_cast<size_t>(stream_floats()));
  std::fill(buffer.data(), buffer.data() + buffer.size(), 1.0f);
  peaks.stream_one = stream_peak(buffer, 1);
  peaks.stream_all = several ? stream_peak(buffer, threads) : peaks.stream_one;
  std::vector<Json> rows;
  const auto add = [&](const char* what, const char* unit, const std::optional<Peak>& one,
                       const std::optional<Peak>& all) {
    rows.push_back(row_of(what, unit, one));
    if (several && all) rows.push_back(row_of(what, unit, all));
  };
  add("bf16 dot products", "GFLOPS", peaks.bf16_one, peaks.bf16_all);
  add("f32 multiply-adds", "GFLOPS", peaks.f32_one, peaks.f32_all);
  add("stream, read only", "GB/s", peaks.stream_one, peaks.stream_all);
  report.table("peaks", "Peaks of this machine, this run",
               with_cpu({{"what", "what"},
                         {"threads", "threads", Format::kCount},
                         {"rate", "best", Format::kRate},
                         {"unit", "unit"}}),
               rows);
  if (!clean(peaks)) {
    report.note("**Not all peaks are clean**: they are too low, and shares of them too high.");
  }
  return peaks;
}

}  // namespace kvlab::roofline
