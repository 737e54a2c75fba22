// Collects what KVzap is fitted on: hidden states of a passage's tokens and their KVzip+ scores.
#pragma once

#include <vector>

#include "train/passages.h"
#include "train/sample_store.h"
#include "train/trainer.h"

namespace kvlab {

struct CollectPlan {
  std::vector<Passage> passages;        // in the order in which they are stored
  std::vector<const TrainText*> texts;  // of passages: by their index
  RepeatFrame frame;
  double floor = 0;  // the least score that is stored
};

// Runs the passages that `store` lacks. False when it was asked to stop; what is complete is kept.
bool collect_samples(const TrainContext& context, const CollectPlan& plan, SampleStore& store);

}  // namespace kvlab
