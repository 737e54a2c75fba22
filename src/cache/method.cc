#include "cache/method.h"

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

std::shared_ptr<const Method> make_method(const MethodSpec& spec, const ModelShape& shape) {
  auto method = std::make_shared<Method>();
  method->spec = spec;
  method->shape = shape;
  if (spec.scorer) {
    method->scorer =
        spec.scorer->create({shape, spec.values, spec.seed, spec.model_path, spec.policy.threshold()});
  }
  return method;
}

}  // namespace kvlab
