#include "results/trained_on_this.h"

#include <fmt/format.h>

namespace kvlab {

namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

}  // namespace

std::vector<std::string> trained_on_notes(const TrainedOnThis& trained) {
  std::vector<std::string> notes;
  if (trained.found()) {
    notes.push_back(fmt::format(
        "{}: {} of the {} text{} evaluated hold{} what it was fitted on ({}; {} shingle{} of 64 tokens)",
        kTrainedOnThis, trained.documents, trained.evaluated, trained.evaluated == 1 ? "" : "s",
        trained.documents == 1 ? "s" : "", joined(trained.fitted, ", "), trained.shingles,
        trained.shingles == 1 ? "" : "s"));
  }
  for (const std::string& why : trained.unknown) notes.push_back(why);
  return notes;
}

void set_trained_on(nlohmann::ordered_json& row, const TrainedOnThis& trained) {
  nlohmann::ordered_json& mark = row["trained_on_this"];
  if (trained.found()) {
    mark = {{"documents", trained.documents}, {"shingles", trained.shingles}, {"fitted", trained.fitted}};
  } else if (trained.unknown.empty()) {
    mark = false;
  } else {
    mark = nullptr;
  }
  nlohmann::ordered_json& reason = row["trained_on_reason"];
  if (!trained.unknown.empty()) reason = joined(trained.unknown, "; ");
}

}  // namespace kvlab
