// The methods of a run, and `--methods all`: one row for everything that is registered.
#pragma once

#include <string>
#include <vector>

#include "cache/recipe.h"
#include "results/record.h"

namespace kvlab {

// A row that was asked for.
struct ChosenMethod {
  MethodSpec spec;
  bool by_all = false;    // nobody named it: where it cannot run it is SKIPPED, and no mistake
  bool control = false;   // of --controls
  std::string skip = {};  // why it cannot run here; "": nothing speaks against it so far
};

// Everything that has a name, in the order of --methods all: scorers, wrappers (around the scorer that each
// names) and named recipes together, by name. Forms of a scorer that go by another's name
// (external_evictions) are left out.
std::vector<std::string> every_name();

// Each of them but those left out, with the run's defaults; one that these do not suit has the reason in
// `skip`. Throws UserError when a name to leave out is not among them.
std::vector<ChosenMethod> every_method(const RecipeDefaults& defaults,
                                       const std::vector<std::string>& left_out);

}  // namespace kvlab
