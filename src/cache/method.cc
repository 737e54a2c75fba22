#include "cache/method.h"

#include "base/error.h"

namespace kvlab {

namespace {

// Whether all KV heads of a layer keep the same entries.
bool same_in_all_heads(const Method& method) {
  if (method.spec.dense() || method.spec.policy.neutral() || method.spec.scorer->recency) return true;
  return method.weights() && method.weights()->joint_heads();
}

void check_phases(const Method& method) {
  if (method.planned() || method.context->planned()) {
    throw UserError(method.spec.display + ": " +
                    (method.planned() ? method : *method.context).spec.scorer->name +
                    " plans a whole document beforehand, so it cannot be one of two phases");
  }
  if (!method.weights() || !method.weights()->joint_heads() || same_in_all_heads(*method.context)) return;
  throw UserError(method.spec.display + ": " + method.spec.scorer->name +
                  " keeps the same entries in all KV heads of a layer, but " +
                  method.context->spec.scorer->name +
                  " leaves it a context with others in each; as context= take " + method.spec.scorer->name +
                  ", streaming_llm or none, or decode with another method");
}

}  // namespace

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

int Method::carried_floats(int head) const {
  if (fixed()) return 1;
  if (!weights() || (weights()->joint_heads() && head > 0)) return 0;
  return weights()->state_width();
}

std::shared_ptr<const Method> make_method(const MethodSpec& spec, const ModelShape& shape) {
  auto method = std::make_shared<Method>();
  method->spec = spec;
  method->shape = shape;
  if (spec.scorer) {
    method->scorer =
        spec.scorer->create({shape, spec.values, spec.seed, spec.model_path, spec.policy.threshold()});
  }
  if (spec.context) {
    method->context = make_method(*spec.context, shape);
    check_phases(*method);
  }
  return method;
}

}  // namespace kvlab
