// The flags of `kvlab compare`, what they must be, and the methods that they name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cache/recipe.h"
#include "cli/common.h"
#include "cli/shared_data_flags.h"
#include "cli/shared_every_method.h"

namespace kvlab {

struct CompareFlags {
  ModelFlags model;
  DataFlags data;
  std::string margin, output_dir = "kvlab_results", kvzap_scorer_model;
  std::string match, matched_on, thresholds, densities, protocol = "stream", sort = "given", format = "text";
  std::vector<std::string> methods, leave_out;
  std::optional<double> threshold;
  double compression_ratio = 0.5;
  std::optional<int64_t> sinks, window;
  std::optional<int64_t> chunk_size;
  std::optional<std::string> memory;  // as given
  int64_t max_samples = 0, max_length = 0, context = 0, num_gpus = 0, seed = 0, match_documents = 0;
  bool controls = false, no_controls = false, no_heatmaps = false, no_plots = false, no_long_range = false,
       token_nll = false;
  bool beyond_context = false, quiet = false;

  void declare(CLI::App& app);
  // Throws UserError for values that are wrong whatever the data and the model.
  void check() const;
  // The methods with the defaults that the flags give, and the controls; warns of flags that none takes.
  std::vector<ChosenMethod> resolve_methods() const;
  // --thresholds is the sweep of one method, not a value for each.
  bool is_sweep() const;
  // --memory in bytes, or its default.
  int64_t memory_bytes() const;
};

}  // namespace kvlab
