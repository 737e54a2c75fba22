// DuoAttention's head scores: which KV heads look far back, for scorers/duo_attention.cc.
// Paper: Xiao et al.: DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads,
// arXiv:2410.10819.
// Differs: the paper learns the scores by gradients on synthetic tasks. Here they are measured as kvpress
// does (on_the_fly_scoring), from the mean query and key of each head; over passages of any plain text, where
// kvpress takes whole chapters of BookSum.
#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "engine/session.h"
#include "format/safetensors.h"
#include "format/trained_on.h"
#include "results/atomic_file.h"
#include "train/head_scores.h"
#include "train/text_queries.h"
#include "train/trainer.h"

namespace kvlab {

namespace {

// The mean over the passages; nothing when the user asked to stop.
std::vector<double> measure(const TrainContext& context, const std::vector<Passage>& passages) {
  const ModelShape shape = shape_of(context.model->config());
  const auto method = make_method(no_compression(), shape);
  const auto positions = static_cast<int>(context.values.integer("positions"));
  std::vector<double> mean(static_cast<size_t>(shape.layers) * shape.kv_heads);
  context.progress->begin("reading passages", static_cast<int64_t>(passages.size()));
  for (size_t i = 0; i < passages.size() && !stop_requested(); ++i) {
    const auto directions = std::make_shared<MeanDirections>(shape);
    CacheOptions options;
    options.type = context.cache_type;
    options.tap = directions;
    Session(context.model, method, options).extend(tokens_to_read(context, passages[i]));
    const std::vector<double> scores = directions->scores(positions);
    for (size_t h = 0; h < mean.size(); ++h) mean[h] += scores[h] / static_cast<double>(passages.size());
    context.progress->step(static_cast<int64_t>(i) + 1);
  }
  context.progress->end();
  return stop_requested() ? std::vector<double>() : mean;
}

void write_folder(const TrainContext& context, const ModelShape& shape, const std::vector<double>& scores,
                  size_t passages) {
  TrainedOn seen(context.model->config().vocab);
  for (const TrainText& text : context.texts) seen.add(text.tokens, text.name);
  seen.write(trained_on_path(context.output.string()));
  nlohmann::ordered_json record = {{"format", "kvlab scorer 1"}, {"method", "duo_attention"}};
  record.update(context.provenance);
  record["passages"] = passages;
  for (const char* name : {"passage_tokens", "positions"}) record[name] = context.values.integer(name);
  write_atomically(context.output / "kvlab.json", record.dump(2) + "\n");
  write_safetensors((context.output / "model.safetensors").string(),
                    {{"head_scores", {shape.layers, shape.kv_heads}, {scores.begin(), scores.end()}}});
}

std::vector<std::string> lines_of(const ModelShape& shape, const std::vector<double>& scores) {
  std::vector<std::string> lines = {"layer  scores by KV head; the higher, the farther back it looks"};
  for (int layer = 0; layer < shape.layers; ++layer) {
    std::string line = fmt::format("{:5} ", layer);
    for (int head = 0; head < shape.kv_heads; ++head)
      line += fmt::format(" {:.3f}", scores[layer * shape.kv_heads + head]);
    lines.push_back(line);
  }
  return lines;
}

TrainReport run(const TrainContext& context) {
  const std::vector<Passage> passages = passages_to_read(context);
  const std::vector<double> scores = measure(context, passages);
  if (scores.empty()) return {false, {}};
  const ModelShape shape = shape_of(context.model->config());
  write_folder(context, shape, scores, passages.size());
  return {true, lines_of(shape, scores)};
}

TrainerInfo describe() {
  TrainerInfo info;
  info.name = "duo_attention";
  info.paper =
      "Xiao et al.: DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads, "
      "arXiv:2410.10819";
  info.summary = "measure DuoAttention's head scores: how far back each head looks";
  info.examples =
      "  kvlab train duo_attention --data_path book.txt --output_dir heads\n"
      "  kvlab compare --methods 'duo_attention(head_ratio=0.5,model=heads)'\n";
  info.fields = {
      int_field("passages", int64_t{50}, 1, 1 << 24, "passages to read, drawn from the text"),
      int_field("passage_tokens", int64_t{1000}, 4, 1 << 20,
                "tokens of a passage, give or take a quarter; at most what the model's context holds"),
      int_field("positions", int64_t{500}, 2, 1 << 20, "positions that the mean query looks back over")};
  info.run = run;
  return info;
}

}  // namespace

extern const TrainerInfo kTrainerInfo_duo_attention;
const TrainerInfo kTrainerInfo_duo_attention = describe();

}  // namespace kvlab
