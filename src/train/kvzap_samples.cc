#include "train/kvzap_samples.h"

#include <algorithm>

#include "engine/session.h"
#include "train/kvzip_targets.h"

namespace kvlab {

namespace {

// Takes the samples of one prompt from each layer as it runs.
class SampleTap : public LayerTap {
 public:
  SampleTap(const ModelShape& shape, const std::vector<std::vector<float>>& grams, const RepeatPrompt& prompt,
            const std::vector<int32_t>& positions, float floor, SampleStore& store)
      : shape_(shape), grams_(grams), prompt_(prompt), positions_(positions), floor_(floor), store_(store) {}

  bool wants_hidden() const override { return true; }

  void see(const LayerBlock& block) override {
    const std::vector<float> scores = kvzip_targets(block, prompt_, shape_, grams_[block.layer]);
    const size_t count = positions_.size();
    std::vector<float> features(count * shape_.hidden), targets(count * shape_.kv_heads);
    for (size_t s = 0; s < count; ++s) {
      const int32_t i = positions_[s];
      std::copy_n(block.hidden + (int64_t{1} * prompt_.first + i) * shape_.hidden, shape_.hidden,
                  features.data() + s * shape_.hidden);
      for (int head = 0; head < shape_.kv_heads; ++head) {
        const float score = scores[static_cast<size_t>(head) * prompt_.length + i];
        targets[s * shape_.kv_heads + head] = std::max(score, floor_);
      }
    }
    store_.write(block.layer, features.data(), targets.data());
  }

 private:
  const ModelShape& shape_;
  const std::vector<std::vector<float>>& grams_;
  const RepeatPrompt& prompt_;
  const std::vector<int32_t>& positions_;
  float floor_;
  SampleStore& store_;
};

}  // namespace

bool collect_samples(const TrainContext& context, const CollectPlan& plan, SampleStore& store) {
  const auto total = static_cast<int64_t>(plan.passages.size());
  if (store.collected() == total) return true;
  const ModelShape shape = shape_of(context.model->config());
  const auto method = make_method(no_compression(), shape);
  std::vector<std::vector<float>> grams;
  for (int layer = 0; layer < shape.layers; ++layer) grams.push_back(output_grams(*context.model, layer));
  context.progress->begin("collecting from passages", total);
  while (store.collected() < total) {
    if (stop_requested()) {
      context.progress->end();
      return false;
    }
    const int64_t index = store.collected();
    const Passage& passage = plan.passages[index];
    const std::span<const int32_t> text(plan.texts[passage.text]->tokens);
    const RepeatPrompt prompt = repeat_prompt(plan.frame, text.subspan(passage.first, passage.length));
    const auto positions =
        draw_positions(passage.length, store.sizes().samples,
                       context.seed + 0x5851f42d4c957f2dull * static_cast<uint64_t>(index + 1));
    CacheOptions options;
    options.type = context.cache_type;
    options.tap =
        std::make_shared<SampleTap>(shape, grams, prompt, positions, static_cast<float>(plan.floor), store);
    Session(context.model, method, options).extend(prompt.tokens, prompt.tokens.size());
    store.commit();
    context.progress->step(store.collected());
  }
  context.progress->end();
  return true;
}

}  // namespace kvlab
