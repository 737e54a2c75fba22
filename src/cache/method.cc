#include "cache/method.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

namespace {

// The first layer whose KV heads have different budgets.
std::optional<int> uneven_layer(const HeadBudgets& table) {
  for (int layer = 0; layer < table.layers; ++layer) {
    for (int head = 1; head < table.heads; ++head) {
      if (table.value(layer, head) != table.value(layer, 0)) return layer;
    }
  }
  return std::nullopt;
}

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
  if (const auto layer = uneven_layer(table)) {
    throw UserError(table.source + ": " + method.spec.scorer->name +
                    " keeps the same entries in all KV heads of a layer, but those of layer " +
                    std::to_string(*layer) + " have different budgets; give one number per layer");
  }
}

// Whether all KV heads of a layer keep the same entries.
bool same_in_all_heads(const Method& method) {
  const MethodSpec& spec = method.spec;
  if (spec.dense() || spec.policy.neutral()) return true;
  if (spec.policy.table && uneven_layer(*spec.policy.table)) return false;
  for (const WrapperSpec& wrapper : spec.wrappers) {
    if (wrapper.info->uneven) return false;
  }
  if (spec.scorer->recency) return true;
  return method.weights() && method.weights()->joint_heads();
}

void check_wrappers_fit(const Method& method) {
  if (!method.weights() || !method.weights()->joint_heads()) return;
  for (const WrapperSpec& wrapper : method.spec.wrappers) {
    if (!wrapper.info->uneven) continue;
    throw UserError(wrapper.info->name + "(of=" + method.spec.scorer->name + "): " +
                    method.spec.scorer->name + " keeps the same entries in all KV heads of a layer, which " +
                    wrapper.info->name + " would not; take another scorer");
  }
}

// Sums of heads and layers that differ cannot follow on one numbering.
void check_renumbering(const Method& method) {
  if (!method.renumbers()) return;
  if (!method.shape.windows.empty()) {
    throw UserError(
        method.spec.display +
        ": this model has layers with sliding windows, which see by distance, and renumbered tokens "
        "have other distances; take a recipe without new positions");
  }
  const Policy& policy = method.spec.policy;
  const bool spread = policy.spread || policy.table;
  for (const WrapperSpec& wrapper : method.spec.wrappers) {
    if (wrapper.info->counts && !spread) continue;
    throw UserError(method.spec.display +
                    ": renumbered tokens need as many entries in all layers and heads; " +
                    "take a recipe that keeps as many in each");
  }
}

void check_phases(const Method& method) {
  if (method.renumbers() || method.context->renumbers()) {
    throw UserError(method.spec.display +
                    ": entries that were given new positions cannot be followed by another method; "
                    "leave decode= out");
  }
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

Policy Method::policy_of(int layer, int head, DType type) const {
  Policy policy = spec.policy.of_head(layer, head);
  policy.token_bytes =
      int64_t{2} * shape.layers * shape.kv_heads * shape.head_dim * static_cast<int64_t>(element_size(type));
  if (shape.window(layer) > 0) policy.reach = shape.window(layer);
  return policy;
}

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

const ContextScorer* Method::context_scorer() const {
  return scorer && spec.scorer->kind == ScorerKind::kContext ? static_cast<const ContextScorer*>(scorer.get())
                                                             : nullptr;
}

int Method::acting_wrappers() const {
  return static_cast<int>(std::count_if(wrappers.begin(), wrappers.end(),
                                        [](const auto& wrapper) { return !wrapper->spreads(); }));
}

bool Method::acts_jointly() const {
  return context_scorer() || std::any_of(wrappers.begin(), wrappers.end(), [](const auto& wrapper) {
           return wrapper->joint() || wrapper->whole_model();
         });
}

bool Method::shares_over_model() const {
  return std::any_of(wrappers.begin(), wrappers.end(), [](const auto& w) { return w->whole_model(); });
}

bool Method::wants_output() const {
  return std::any_of(wrappers.begin(), wrappers.end(), [](const auto& w) { return w->wants_output(); }) ||
         (context && context->wants_output());
}

bool Method::renumbers() const {
  return std::any_of(wrappers.begin(), wrappers.end(), [](const auto& w) { return w->renumbers(); });
}

bool Method::revises() const {
  return std::any_of(wrappers.begin(), wrappers.end(), [](const auto& w) { return w->revises(); }) ||
         (context && context->revises());
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
    Policy& policy = method->spec.policy;
    policy.layers = shape.layers;
    policy.queries = method->scorer->recent_queries();
    for (const WrapperSpec& wrapper : spec.wrappers) {
      method->wrappers.push_back(wrapper.info->create(wrapper.values));
      if (method->wrappers.back()->spreads()) policy.spread = method->wrappers.back();
    }
    if (policy.table) check_table(*method, *policy.table);
    check_wrappers_fit(*method);
    check_renumbering(*method);
  }
  if (spec.context) {
    method->context = make_method(*spec.context, shape);
    check_phases(*method);
  }
  return method;
}

}  // namespace kvlab
