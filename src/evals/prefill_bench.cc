#include "evals/prefill_bench.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/byte_size.h"
#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"
#include "engine/reconstruction.h"
#include "engine/session.h"
#include "evals/products_alone.h"
#include "kernels/quantised_gemv.h"
#include "models/architecture.h"
#include "models/layer_products.h"
#include "results/environment.h"

namespace kvlab {

namespace {

std::vector<int32_t> random_tokens(uint64_t seed, int64_t count, int vocab) {
  std::vector<int32_t> tokens;
  tokens.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t number = mix64(mix64(seed) ^ static_cast<uint64_t>(i));
    tokens.push_back(static_cast<int32_t>(number % static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

int64_t layer_weight_bytes(const ModelConfig& config, DType type) {
  int64_t bytes = 0;
  for (const ProductSize& size : layer_products(config))
    bytes += static_cast<int64_t>(PackedMatrix::packed_bytes(size.out, size.in, type));
  return bytes;
}

int64_t head_weight_bytes(const ModelConfig& config, DType type) {
  int64_t bytes = 0;
  for (int first = 0; first < config.vocab; first += OutputHead::kSlab) {
    const int rows = std::min(OutputHead::kSlab, config.vocab - first);
    bytes += static_cast<int64_t>(PackedMatrix::packed_bytes(rows, config.hidden, type));
  }
  return bytes;
}

std::optional<int64_t> embedding_bytes(const ModelFiles& files) {
  const ModelConfig& c = files.config;
  const auto& architecture = find_architecture(c.architecture, files.weights->path());
  const std::string type = files.weights->type(architecture.tensors(c).embedding);
  const int64_t values = int64_t{c.vocab} * c.hidden;
  if (type == "f32") return 4 * values;
  if (type == "bf16" || type == "f16") return 2 * values;
  if (const auto quantised = quantised_type(type))
    return c.vocab * static_cast<int64_t>(quantised_row_bytes(*quantised, c.hidden));
  return std::nullopt;
}

BenchModel describe(const ModelFiles& files, const BenchOptions& options) {
  const ModelConfig& c = files.config;
  BenchModel model;
  model.name = c.name;
  model.architecture = c.architecture;
  model.weights = c.weight_types;
  model.dtype = dtype_name(options.type);
  model.kv_dtype = dtype_name(options.kv_type);
  model.layers = options.layers;
  model.layers_run = c.layers;
  model.layers_alike =
      std::adjacent_find(c.windows.begin(), c.windows.end(), std::not_equal_to<>()) == c.windows.end();
  model.layer_flops = layer_flops(c) / c.layers;
  model.layer_bytes = layer_weight_bytes(c, options.type);
  model.head_bytes = head_weight_bytes(c, options.type);
  model.embedding_bytes = embedding_bytes(files);
  return model;
}

void check_weights_fit(const BenchModel& model, int64_t memory) {
  const int64_t weights = model.layer_bytes * model.layers_run + model.head_bytes;
  if (weights <= memory) return;
  const int64_t layers = std::max<int64_t>(0, memory - model.head_bytes) / model.layer_bytes;
  const std::string fewer = layers > 0 ? fmt::format("--layers {}, or ", layers) : "";
  throw UserError(
      fmt::format("--memory {} is less than the weights of {} layers of {} take: give {}--memory {}",
                  byte_size_text(memory), model.layers_run, model.name, fewer, byte_size_text(weights)));
}

void check_method(const Method& method) {
  if (!method.planned()) return;
  throw UserError(fmt::format(
      "{}: plans its evictions for a document beforehand, which random tokens are not", method.spec.recipe));
}

// For methods that repeat the context: of the usual lengths.
std::shared_ptr<const ReconstructionPrompts> random_prompts(std::span<const int32_t> tokens) {
  const auto some = [&](size_t count) {
    return std::vector<int32_t>(tokens.begin(),
                                tokens.begin() + static_cast<int64_t>(std::min(count, tokens.size())));
  };
  return std::make_shared<const ReconstructionPrompts>(ReconstructionPrompts{some(9), some(13), some(5), ""});
}

// One method over the tokens; nullopt when asked to stop before the end.
std::optional<BenchRow> prefill(const std::shared_ptr<const Model>& model,
                                const std::shared_ptr<const Method>& method, DType kv_type,
                                std::span<const int32_t> tokens, Progress& progress) {
  constexpr size_t kBlock = Session::kMaxBlock;
  CacheOptions options;
  options.type = kv_type;
  options.prompts = random_prompts(tokens);
  Session session(model, method, options);
  progress.begin(fmt::format("{}, {} tokens", method->spec.display, tokens.size()),
                 static_cast<int64_t>((tokens.size() + kBlock - 1) / kBlock));
  const Stopwatch watch;
  for (size_t at = 0; at < tokens.size(); at += kBlock) {
    if (stop_requested()) {
      progress.end();
      return std::nullopt;
    }
    session.extend(tokens.subspan(at, std::min(kBlock, tokens.size() - at)));
    progress.step(static_cast<int64_t>(at / kBlock) + 1);
  }
  if (method->spec.needs_context()) session.end_context();
  BenchRow row;
  row.timing = watch.read();
  progress.end();
  row.method = method->spec.display;
  row.recipe = method->spec.recipe;
  row.tokens = static_cast<int64_t>(tokens.size());
  row.cache_end = session.cache().bytes().total();
  row.cache_peak = session.cache().peak_bytes();
  row.peak_resident = peak_resident_bytes();
  return row;
}

}  // namespace

BenchResult bench_prefills(const ModelFiles& files, std::span<const std::shared_ptr<const Method>> methods,
                           const BenchOptions& options, Progress& progress) {
  KVLAB_CHECK(!options.lengths.empty() && options.layers >= files.config.layers);
  BenchResult result;
  result.model = describe(files, options);
  result.threads = thread_count();
  result.memory = options.memory;
  result.resident_before = resident_bytes();
  check_weights_fit(result.model, options.memory);
  for (const auto& method : methods) check_method(*method);
  const int64_t longest = *std::max_element(options.lengths.begin(), options.lengths.end());
  result.products = layer_products_alone(files.config, options.type,
                                         std::min<int64_t>(longest, Session::kMaxBlock), progress);
  const auto model = load_model(files, {options.type}, progress);
  result.head = head_products_alone(*model);
  const std::vector<int32_t> tokens = random_tokens(options.seed, longest, files.config.vocab);
  for (const int64_t length : options.lengths) {
    for (const auto& method : methods) {
      release_free_memory();  // what the row before left does not count for this one
      result.own_peaks &= reset_peak_resident();
      const auto row = prefill(model, method, options.kv_type,
                               std::span(tokens).first(static_cast<size_t>(length)), progress);
      result.interrupted = !row;
      if (!row) return result;
      result.rows.push_back(*row);
    }
  }
  return result;
}

}  // namespace kvlab
