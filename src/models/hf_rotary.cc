#include "models/hf_rotary.h"

#include <fmt/format.h>

#include <cmath>
#include <initializer_list>

#include "models/readers.h"

namespace kvlab {
namespace {

void read_llama3(const JsonSettings& scaling, RotarySettings& rotary) {
  rotary.kind = RotarySettings::Kind::kLlama3;
  rotary.factor = scaling.needed_positive("factor");
  rotary.low_freq_factor = scaling.needed_positive("low_freq_factor");
  rotary.high_freq_factor = scaling.needed_positive("high_freq_factor");
  rotary.original_context = scaling.needed_integer("original_max_position_embeddings", 1, kMostContext);
  if (rotary.high_freq_factor <= rotary.low_freq_factor) {
    throw scaling.bad("high_freq_factor",
                      fmt::format("above low_freq_factor, which is {}", rotary.low_freq_factor));
  }
}

// The share of the logarithm of the factor that YaRN adds to the scores' temperature.
double yarn_magnitude(double factor, double share) {
  return factor <= 1 ? 1.0 : 0.1 * share * std::log(factor) + 1.0;
}

void read_yarn(const JsonSettings& scaling, int64_t context, RotarySettings& rotary) {
  rotary.kind = RotarySettings::Kind::kYarn;
  rotary.factor = scaling.needed_positive("factor");
  rotary.original_context =
      scaling.integer("original_max_position_embeddings", 1, kMostContext).value_or(context);
  rotary.beta_fast = scaling.positive("beta_fast").value_or(32.0);
  rotary.beta_slow = scaling.positive("beta_slow").value_or(1.0);
  rotary.truncate = scaling.flag("truncate").value_or(true);
  const auto mscale = scaling.positive("mscale"), all = scaling.positive("mscale_all_dim");
  if (const auto given = scaling.positive("attention_factor")) {
    rotary.magnitude = *given;
  } else if (mscale && all) {
    rotary.magnitude = yarn_magnitude(rotary.factor, *mscale) / yarn_magnitude(rotary.factor, *all);
  } else {
    rotary.magnitude = yarn_magnitude(rotary.factor, 1.0);
  }
}

// Scaling of kind `type`, with its values in `scaling`.
void read_scaling(const JsonSettings& scaling, const std::string& type, int64_t context,
                  RotarySettings& rotary) {
  if (type == "default") return;
  if (type == "llama3") return read_llama3(scaling, rotary);
  if (type == "yarn") return read_yarn(scaling, context, rotary);
  if (type == "linear") {
    rotary.kind = RotarySettings::Kind::kLinear;
    rotary.factor = scaling.needed_positive("factor");
    return;
  }
  if (type == "dynamic") {
    rotary.kind = RotarySettings::Kind::kDynamic;
    rotary.factor = scaling.needed_positive("factor");
    rotary.original_context = context;
    return;
  }
  const char* why = type == "longrope" || type == "su"
                        ? " (it turns all keys anew when a text grows beyond the original context, which "
                          "no cache can obey)"
                        : "";
  throw UserError(fmt::format(
      "{}: rotary scaling '{}' is not supported{} (supported: default, linear, dynamic, llama3, yarn)",
      scaling.file(), type, why));
}

std::optional<std::string> scaling_type(const JsonSettings& scaling) {
  const auto type = scaling.text("rope_type");
  return type ? type : scaling.text("type");
}

// The first of the keys that is there, looked for in the new object and then in the settings themselves.
std::optional<double> find_positive(const std::optional<JsonSettings>& parameters, const JsonSettings& json,
                                    const char* in_parameters, std::initializer_list<const char*> in_json) {
  if (parameters) {
    if (const auto value = parameters->positive(in_parameters)) return value;
  }
  for (const char* key : in_json) {
    if (const auto value = json.positive(key)) return value;
  }
  return std::nullopt;
}

RotarySettings read(const JsonSettings& json, const std::optional<JsonSettings>& parameters,
                    const ModelConfig& config) {
  RotarySettings rotary;
  rotary.theta =
      find_positive(parameters, json, "rope_theta", {"rope_theta", "rotary_emb_base"}).value_or(10000.0);
  const double share =
      find_positive(parameters, json, "partial_rotary_factor", {"partial_rotary_factor", "rotary_pct"})
          .value_or(1.0);
  if (share > 1) throw UserError(fmt::format("{}: rotary share {} (expected at most 1)", json.file(), share));
  rotary.dims = static_cast<int>(config.head_dim * share);
  // A new object without a type of its own leaves room for the old one beside it.
  std::optional<JsonSettings> scaling = parameters;
  if (!scaling || !scaling_type(*scaling)) scaling = json.object("rope_scaling");
  if (scaling) {
    const auto type = scaling_type(*scaling);
    if (!type) throw scaling->missing("rope_type");
    read_scaling(*scaling, *type, config.context, rotary);
  }
  return rotary;
}

}  // namespace

RotarySettings read_rotary(const JsonSettings& json, const ModelConfig& config) {
  if (auto own = read_rotary_of(json, config, "full_attention")) return *own;
  return read(json, json.object("rope_parameters"), config);
}

std::optional<RotarySettings> read_rotary_of(const JsonSettings& json, const ModelConfig& config,
                                             const std::string& layer_type) {
  const auto all = json.object("rope_parameters");
  if (!all || !all->find(layer_type)) return std::nullopt;
  return read(json, all->needed_object(layer_type), config);
}

}  // namespace kvlab
