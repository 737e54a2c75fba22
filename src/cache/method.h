// A method ready to run on one model: the resolved recipe and its scorer. Shared by all sessions that use it.
#pragma once

#include <memory>

#include "cache/planned.h"
#include "cache/recipe.h"
#include "cache/scorer.h"

namespace kvlab {

struct Method {
  MethodSpec spec;
  ModelShape shape;
  std::unique_ptr<const Scorer> scorer;  // null: no compression

  // The scorer as its kind, or null.
  const FixedScorer* fixed() const;
  const WeightsScorer* weights() const;
  const PeriodicScorer* periodic() const;
  const PlannedScorer* planned() const;
  bool wants_hidden() const { return scorer && scorer->wants_hidden(); }
};

// Throws UserError when the scorer cannot be made for this model (a learned scorer of other sizes, no file,
// ...), or when a table of budgets does not fit it.
std::shared_ptr<const Method> make_method(const MethodSpec& spec, const ModelShape& shape);

}  // namespace kvlab
