#include "cache/method.h"

#include "base/error.h"

namespace kvlab {

const FixedScorer* Method::fixed() const {
  return scorer && spec.scorer->kind == ScorerKind::kFixed ? static_cast<const FixedScorer*>(scorer.get())
                                                           : nullptr;
}

const WeightsScorer* Method::weights() const {
  return scorer && spec.scorer->kind == ScorerKind::kWeights ? static_cast<const WeightsScorer*>(scorer.get())
                                                             : nullptr;
}

const PeriodicScorer* Method::periodic() const {
  return scorer && spec.scorer->kind == ScorerKind::kPeriodic
             ? static_cast<const PeriodicScorer*>(scorer.get())
             : nullptr;
}

const PlannedScorer* Method::planned() const {
  return scorer && spec.scorer->kind == ScorerKind::kPlanned ? static_cast<const PlannedScorer*>(scorer.get())
                                                             : nullptr;
}

namespace {

std::string shape_text(int layers, int heads) {
  return "[" + std::to_string(layers) + (heads == 1 ? "" : ", " + std::to_string(heads)) + "]";
}

void check_table(const Method& method, const HeadBudgets& table) {
  const ModelShape& shape = method.shape;
  if (table.layers != shape.layers || (table.heads != 1 && table.heads != shape.kv_heads)) {
    throw UserError(table.source + ": '" + table.budget + "' has shape " +
                    shape_text(table.layers, table.heads) + ", the model has " +
                    std::to_string(shape.layers) + " layers of " + std::to_string(shape.kv_heads) +
                    " KV heads (expected " + shape_text(shape.layers, shape.kv_heads) + " or " +
                    shape_text(shape.layers, 1) + ")");
  }
  if (!method.weights() || !method.weights()->joint_heads()) return;
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 1; head < shape.kv_heads; ++head) {
      if (table.value(layer, head) == table.value(layer, 0)) continue;
      throw UserError(table.source + ": " + method.spec.scorer->name +
                      " keeps the same entries in all KV heads of a layer, but layer " +
                      std::to_string(layer) + " gives head " + std::to_string(head) +
                      " another budget than head 0; give one number per layer");
    }
  }
}

}  // namespace

std::shared_ptr<const Method> make_method(const MethodSpec& spec, const ModelShape& shape) {
  auto method = std::make_shared<Method>();
  method->spec = spec;
  method->shape = shape;
  if (spec.scorer) {
    method->scorer =
        spec.scorer->create({shape, spec.values, spec.seed, spec.model_path, spec.policy.threshold()});
    if (spec.policy.table) check_table(*method, *spec.policy.table);
  }
  return method;
}

}  // namespace kvlab
