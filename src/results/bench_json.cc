#include "results/bench_json.h"

#include "results/bench_figures.h"

namespace kvlab {

namespace {

using Json = nlohmann::ordered_json;

Json model_json(const BenchModel& model) {
  return {{"name", model.name},
          {"architecture", model.architecture},
          {"weights", model.weights},
          {"dtype", model.dtype},
          {"kv_dtype", model.kv_dtype},
          {"layers", model.layers},
          {"layers_run", model.layers_run},
          {"layers_alike", model.layers_alike},
          {"product_flops_per_token_and_layer", model.layer_flops},
          {"weight_bytes_per_layer", model.layer_bytes},
          {"head_bytes", model.head_bytes},
          {"embedding_bytes_in_file", model.embedding_bytes ? Json(*model.embedding_bytes) : Json(nullptr)}};
}

Json products_json(const BenchProducts& products) {
  return {{"rows", products.rows},
          {"seconds", products.timing.wall},
          {"cpu_seconds", products.timing.cpu},
          {"flops", products.flops},
          {"flops_per_second", products.per_second()}};
}

Json row_json(const BenchResult& result, const BenchRow& row) {
  const BenchFigures f = bench_figures(result, row);
  const bool resident = row.peak_resident > 0;
  const auto if_resident = [&](Json value) { return resident ? value : Json(nullptr); };
  return {{"method", row.method},
          {"recipe", row.recipe},
          {"tokens", row.tokens},
          {"seconds", row.timing.wall},
          {"cpu_seconds", row.timing.cpu},
          {"cpu_share", f.cpu_share},
          {"tokens_per_second", f.tokens_per_second},
          {"seconds_per_layer", f.layer_seconds},
          {"share_of_products_alone", f.share_of_products},
          {"cpu_share_of_products_alone", f.cpu_share_of_products},
          {"cache_bytes_end", row.cache_end},
          {"cache_bytes_peak", row.cache_peak},
          {"cache_bytes_end_per_layer", f.layer_cache_end},
          {"cache_bytes_peak_per_layer", f.layer_cache_peak},
          {"weight_bytes", f.weights},
          {"peak_resident_bytes", if_resident(row.peak_resident)},
          {"working_bytes", if_resident(f.working)},
          {"resident_over_accounted", if_resident(f.over_accounted)},
          {"inside_memory", if_resident(f.inside_memory)},
          {"whole_model",
           {{"seconds", f.whole_seconds},
            {"head_seconds_if_all_scored", f.whole_head_seconds},
            {"cache_bytes_peak", f.whole_cache},
            {"memory_bytes", if_resident(f.whole_memory)},
            {"inside_memory", if_resident(f.whole_inside_memory)}}}};
}

}  // namespace

Json bench_json(const BenchResult& result) {
  Json json = {{"config", result.config},
               {"environment", result.environment},
               {"interrupted", result.interrupted},
               {"model", model_json(result.model)},
               {"threads", result.threads},
               {"memory_bytes", result.memory},
               {"resident_bytes_before_weights", result.resident_before},
               {"peak_is_per_row", result.own_peaks},
               {"layer_products_alone", products_json(result.products)},
               {"head_products_alone", products_json(result.head)},
               {"whole_model_formulas", bench_formulas()},
               {"rows", Json::array()}};
  for (const BenchRow& row : result.rows) json["rows"].push_back(row_json(result, row));
  return json;
}

}  // namespace kvlab
