// A method ready to run on one model: the resolved recipe and its scorer. Shared by all sessions that use it.
#pragma once

#include <memory>

#include "cache/planned.h"
#include "cache/recipe.h"
#include "cache/scorer.h"
#include "tensor/dtype.h"

namespace kvlab {

struct Method {
  MethodSpec spec;
  ModelShape shape;
  std::unique_ptr<const Scorer> scorer;                  // null: no compression
  std::vector<std::shared_ptr<const Wrapper>> wrappers;  // around the scorer, the innermost first
  // Of a two-phase recipe: the method that acts at the end of the context, before which nothing goes. Both
  // watch from the first token on.
  std::shared_ptr<const Method> context;

  // The policy of one KV head in a cache of this type, within the reach of its layer.
  Policy policy_of(int layer, int head, DType type) const;
  // The scorer as its kind, or null.
  const FixedScorer* fixed() const;
  const WeightsScorer* weights() const;
  const PeriodicScorer* periodic() const;
  const ContextScorer* context_scorer() const;
  const PlannedScorer* planned() const;
  // Floats carried per entry of a KV head: a fixed score, or a weights scorer's state (once, at head 0, for
  // heads that decide jointly).
  int carried_floats(int head) const;
  // Whether past queries must be remembered.
  bool wants_queries() const { return periodic() || context_scorer(); }
  // Whether an action sees the heads of a layer together, because they share a budget or scores.
  bool acts_jointly() const;
  // Whether more happens at an action than that the entries of least score go.
  bool acts_plainly() const { return !context_scorer() && acting_wrappers() == 0; }
  // Whether the budget is shared out over all layers.
  bool shares_over_model() const;
  bool wants_output() const;
  bool renumbers() const;
  // Changes keys or values of entries that stay.
  bool revises() const;
  bool wants_hidden() const {
    return (scorer && scorer->wants_hidden()) || (context && context->wants_hidden());
  }

 private:
  // Wrappers that do something at an action.
  int acting_wrappers() const;
};

// Throws UserError when the scorer cannot be
// made for this model (a learned scorer of other sizes, no file,
// ...), a table of budgets does not fit it, or two phases cannot follow each other.
std::shared_ptr<const Method> make_method(const MethodSpec& spec, const ModelShape& shape);

}  // namespace kvlab
