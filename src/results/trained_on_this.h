// Whether a row was fitted on the text that it is evaluated on: its scorer was trained on it, or its budget
// found on it. Such a row says nothing of other text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace kvlab {

// The word that marks such a row wherever it is shown.
inline constexpr const char* kTrainedOnThis = "TRAINED-ON-THIS";

struct TrainedOnThis {
  int64_t documents = 0;             // evaluated ones that hold such text
  int64_t evaluated = 0;             // all evaluated ones
  int64_t shingles = 0;              // places in them at which it begins, overlapping ones all counted
  std::vector<std::string> fitted;   // what was fitted on it: "scorer kvzap", "budget (--match)"
  std::vector<std::string> unknown;  // why something could not be looked up: "no record of ..."

  bool found() const { return shingles > 0; }
};

// What a reader of the row has to know, a note each; none where nothing is known against it.
std::vector<std::string> trained_on_notes(const TrainedOnThis& trained);

// Sets "trained_on_this": {"documents", "shingles", "fitted"} where such text was found, false where there is
// none, null where that is not known; and "trained_on_reason": why not, or null.
void set_trained_on(nlohmann::ordered_json& row, const TrainedOnThis& trained);

}  // namespace kvlab
