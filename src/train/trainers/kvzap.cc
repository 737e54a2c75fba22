// KVzap's scorer: per layer a small model that predicts a token's normalised KVzip+ score from its hidden
// state, fitted on passages that the model repeats.
// Paper: KVzap: Fast, Adaptive, and Faithful KV Cache Pruning, arXiv:2601.07891 (reference code in
// NVIDIA/kvpress).
// Differs: scores are computed in logs and clamped to a stated floor, where the reference has log 0; layers
// are fitted one by one, so the MLP's gradient is clipped per layer and not over all of them; its inputs and
// outputs are standardised while it is fitted; the data is any plain text, and some 40 times less of it by
// default, so the MLP starts with a lower rate and a stronger weight decay (the reference: 5e-3 and 0.01).
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"
#include "format/trained_on.h"
#include "results/hash.h"
#include "train/held_out.h"
#include "train/kvzap_files.h"
#include "train/kvzap_samples.h"
#include "train/mlp.h"
#include "train/ridge.h"
#include "train/trainer.h"

namespace kvlab {

namespace {

constexpr int kBlock = 512;  // rows that are predicted or added up at a time
constexpr int64_t kLeastHeldOut = 4, kOwnHeldOut = 20;

struct Plan {
  CollectPlan collect;
  int64_t train = 0;     // passages to fit, the first of collect.passages
  int64_t held_out = 0;  // passages to judge by, behind them
  SampleSizes sizes;
  std::string fit;  // the settings of the fit, as text
};

PromptForm prompt_form(const Values& values) {
  const std::string& text = values.text("prompt");
  return text == "chat" ? PromptForm::kChat : text == "plain" ? PromptForm::kPlain : PromptForm::kAuto;
}

int64_t tokens_of(const std::vector<TrainText>& texts) {
  int64_t tokens = 0;
  for (const TrainText& text : texts) tokens += static_cast<int64_t>(text.tokens.size());
  return tokens;
}

// Passages of `texts`, which are in the plan behind those that are there.
std::vector<Passage> passages_of(const TrainContext& context, const std::vector<TrainText>& texts,
                                 const char* flag, int64_t least, Plan& plan) {
  const auto size = static_cast<int>(context.values.integer("passage_tokens"));
  std::vector<Passage> passages = cut_passages(texts, size, context.seed);
  if (static_cast<int64_t>(passages.size()) < least) {
    throw UserError(
        fmt::format("{}: {} tokens give {} passages of about {}; expected {} or more: give more "
                    "text or a smaller --passage_tokens",
                    flag, tokens_of(texts), passages.size(), size, least));
  }
  for (Passage& passage : passages) passage.text += static_cast<int>(plan.collect.texts.size());
  for (const TrainText& text : texts) plan.collect.texts.push_back(&text);
  return passages;
}

// Which passages are fitted and which are held out.
void choose_passages(const TrainContext& context, Plan& plan) {
  const int64_t wanted = context.values.integer("passages");
  const bool own_text = !context.held_out.empty();
  plan.held_out = context.values.given("held_out") ? context.values.integer("held_out")
                  : own_text                       ? kOwnHeldOut
                                                   : std::max(kLeastHeldOut, wanted / 20);
  const int64_t least = 1 + (own_text ? 0 : plan.held_out);
  std::vector<Passage> all = passages_of(context, context.texts, "--data_path", least, plan);
  std::vector<Passage> judge;
  if (own_text) {
    all = draw_passages(all, wanted, context.seed + 1);
    judge = draw_passages(passages_of(context, context.held_out, "--held_out_path", 1, plan), plan.held_out,
                          context.seed + 2);
  } else {
    all = draw_passages(all, wanted + plan.held_out, context.seed + 1);
    const auto drawn =
        draw_positions(static_cast<int>(all.size()), static_cast<int>(plan.held_out), context.seed + 2);
    for (const int32_t i : drawn) judge.push_back(all[i]);
    for (size_t i = drawn.size(); i-- > 0;) all.erase(all.begin() + drawn[i]);
  }
  plan.train = static_cast<int64_t>(all.size());
  plan.held_out = static_cast<int64_t>(judge.size());
  plan.collect.passages = std::move(all);
  plan.collect.passages.insert(plan.collect.passages.end(), judge.begin(), judge.end());
}

void check_lengths(const TrainContext& context, const Plan& plan) {
  const int64_t samples = context.values.integer("samples");
  int64_t least = INT64_MAX, longest = 0;
  for (const Passage& passage : plan.collect.passages) {
    least = std::min<int64_t>(least, passage.length);
    longest = std::max<int64_t>(longest, passage.length);
  }
  if (samples > least) {
    throw UserError(
        fmt::format("--samples {} is out of range: the shortest passage has {} tokens", samples, least));
  }
  const RepeatFrame& frame = plan.collect.frame;
  const auto tokens = 2 * longest + static_cast<int64_t>(frame.before.size() + frame.between.size());
  const int64_t most = context.model->config().context;
  if (most > 0 && tokens > most) {
    throw UserError(
        fmt::format("--passage_tokens {}: a passage and its copy take {} tokens, more than the "
                    "model's context of {}; give a smaller one",
                    context.values.integer("passage_tokens"), tokens, most));
  }
}

int width_of(const TrainContext& context) {
  if (context.values.text("type") == "linear") return 0;
  if (context.values.given("width")) return static_cast<int>(context.values.integer("width"));
  return std::max(1, context.model->config().hidden / 8);
}

Plan make_plan(const TrainContext& context) {
  const Values& values = context.values;
  const ModelConfig& model = context.model->config();
  Plan plan;
  plan.collect.floor = values.real("floor");
  plan.collect.frame = repeat_frame(context.tokenizer.get(), prompt_form(values));
  choose_passages(context, plan);
  check_lengths(context, plan);
  plan.sizes = {model.layers, model.hidden, model.kv_heads, static_cast<int>(values.integer("samples")),
                static_cast<int64_t>(plan.collect.passages.size())};
  nlohmann::ordered_json fit = {{"train", plan.train}, {"seed", context.seed}, {"type", values.text("type")}};
  if (values.text("type") == "linear") {
    fit["alpha"] = values.real("alpha");
  } else {
    fit["width"] = width_of(context);
    for (const char* name : {"epochs", "batch"}) fit[name] = values.integer(name);
    for (const char* name : {"learning_rate", "weight_decay", "clip"}) fit[name] = values.real(name);
  }
  plan.fit = fit.dump();
  return plan;
}

// What samples depend on.
nlohmann::ordered_json collect_settings(const TrainContext& context, const Plan& plan) {
  Hash64 hash;
  for (const Passage& passage : plan.collect.passages) {
    const auto& tokens = plan.collect.texts[passage.text]->tokens;
    hash.add(static_cast<uint64_t>(passage.length));
    hash.add(tokens.data() + passage.first, sizeof(int32_t) * passage.length);
  }
  for (const auto* ids : {&plan.collect.frame.before, &plan.collect.frame.between}) {
    hash.add(static_cast<uint64_t>(ids->size()));
    hash.add(ids->data(), sizeof(int32_t) * ids->size());
  }
  const SampleSizes& s = plan.sizes;
  return {{"format", "kvlab samples 1"},
          {"model", context.provenance.value("model", "")},
          {"model_hash", context.provenance.value("model_hash", nlohmann::ordered_json(nullptr))},
          {"dtype", dtype_name(context.model->type())},
          {"kv_dtype", dtype_name(context.cache_type)},
          {"layers", s.layers},
          {"hidden", s.hidden},
          {"heads", s.heads},
          {"passages", s.passages},
          {"samples", s.samples},
          {"prompts", hash.hex()},
          {"floor", plan.collect.floor},
          {"seed", context.seed}};
}

Surrogate fit_ridge(const LayerSamples& samples, int64_t rows, double alpha) {
  Ridge ridge(samples.hidden(), samples.heads());
  std::vector<float> x(static_cast<size_t>(kBlock) * samples.hidden()),
      y(static_cast<size_t>(kBlock) * samples.heads());
  for (int64_t first = 0; first < rows; first += kBlock) {
    if (stop_requested()) return {};
    const int count = static_cast<int>(std::min<int64_t>(kBlock, rows - first));
    for (int r = 0; r < count; ++r) {
      samples.features(first + r, x.data() + int64_t{1} * r * samples.hidden());
      samples.targets(first + r, y.data() + int64_t{1} * r * samples.heads());
    }
    ridge.add(x.data(), y.data(), count);
  }
  return ridge.solve(alpha);
}

MlpOptions mlp_options(const TrainContext& context, int layer) {
  const Values& values = context.values;
  MlpOptions options;
  options.hidden = width_of(context);
  options.epochs = static_cast<int>(values.integer("epochs"));
  options.learning_rate = values.real("learning_rate");
  options.weight_decay = values.real("weight_decay");
  options.batch = static_cast<int>(values.integer("batch"));
  options.clip = values.real("clip");
  options.seed = mix64(context.seed) + static_cast<uint64_t>(layer);
  return options;
}

// Empty when it was asked to stop.
Surrogate fit_layer(const TrainContext& context, const Plan& plan, const SampleStore& store, int layer,
                    const std::function<void()>& tick) {
  const LayerSamples samples(store, layer);
  const int64_t rows = samples.rows_of(plan.train);
  if (width_of(context) == 0) {
    Surrogate fit = fit_ridge(samples, rows, context.values.real("alpha"));
    if (!fit.values.empty()) tick();
    return fit;
  }
  const auto read = [&](int64_t row, float* x, float* y) {
    samples.features(row, x);
    samples.targets(row, y);
  };
  int ticked = 0;
  const auto go_on = [&](int epochs) {
    for (; ticked < epochs; ++ticked) tick();
    return !stop_requested();
  };
  Surrogate fit = fit_mlp(samples.hidden(), samples.heads(), rows, mlp_options(context, layer), read, go_on);
  if (!fit.values.empty()) tick();
  return fit;
}

// All layers, at the same time; empty when it was asked to stop. Layers that were fitted before are read.
std::vector<Surrogate> fit_layers(const TrainContext& context, const Plan& plan, const SampleStore& store) {
  const SampleSizes& sizes = plan.sizes;
  const int ticks = width_of(context) == 0 ? 1 : static_cast<int>(context.values.integer("epochs"));
  std::vector<Surrogate> layers(sizes.layers, Surrogate(sizes.hidden, width_of(context), sizes.heads));
  int64_t done = 0;
  const auto tick = [&](int count) {
#pragma omp critical(kvlab_train_progress)
    context.progress->step(done += count);
  };
  context.progress->begin("fitting layers", int64_t{1} * sizes.layers * ticks);
  parallel_tasks(sizes.layers, [&](int layer, int) {
    Surrogate& fit = layers[layer];
    if (const auto known = store.read_fit(plan.fit, layer, fit.values.size())) {
      fit.values = *known;
      return tick(ticks);
    }
    if (stop_requested()) return;
    const Surrogate fitted = fit_layer(context, plan, store, layer, [&] { tick(1); });
    if (fitted.values.empty()) return;
    fit = fitted;
    store.write_fit(plan.fit, layer, fit.values);
  });
  context.progress->end();
  return stop_requested() ? std::vector<Surrogate>{} : layers;
}

// What the fits say of held-out passages.
struct Judgement {
  std::vector<FitStatistics> heads;  // [layer * heads + head]
  std::vector<float> scores;         // predicted ones
  int64_t clamped = 0, targets = 0;  // of all passages
};

Judgement judge(const Plan& plan, const SampleStore& store, const std::vector<Surrogate>& layers) {
  const SampleSizes& sizes = plan.sizes;
  const auto floor = static_cast<float>(plan.collect.floor);
  std::vector<Judgement> parts(sizes.layers);
  parallel_tasks(sizes.layers, [&](int layer, int) {
    const LayerSamples samples(store, layer);
    Judgement& part = parts[layer];
    part.heads.resize(sizes.heads);
    std::vector<float> x(sizes.hidden), y(sizes.heads), predicted(sizes.heads);
    const int64_t first = samples.rows_of(plan.train);
    for (int64_t row = 0; row < samples.rows_of(sizes.passages); ++row) {
      samples.targets(row, y.data());
      part.targets += sizes.heads;
      part.clamped += std::count(y.begin(), y.end(), floor);
      if (row < first) continue;
      samples.features(row, x.data());
      layers[layer].predict(x.data(), 1, predicted.data());
      for (int head = 0; head < sizes.heads; ++head) part.heads[head].add(predicted[head], y[head]);
      part.scores.insert(part.scores.end(), predicted.begin(), predicted.end());
    }
  });
  Judgement all;
  for (const Judgement& part : parts) {
    all.heads.insert(all.heads.end(), part.heads.begin(), part.heads.end());
    all.scores.insert(all.scores.end(), part.scores.begin(), part.scores.end());
    all.clamped += part.clamped;
    all.targets += part.targets;
  }
  return all;
}

using Figure = double (FitStatistics::*)() const;

double mean_of(const std::vector<FitStatistics>& heads, Figure figure) {
  double sum = 0;
  for (const FitStatistics& head : heads) sum += (head.*figure)();
  return sum / static_cast<double>(heads.size());
}

nlohmann::ordered_json figures(const std::vector<FitStatistics>& all, int heads, Figure figure) {
  auto layers = nlohmann::ordered_json::array();
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % heads == 0) layers.push_back(nlohmann::ordered_json::array());
    layers.back().push_back((all[i].*figure)());
  }
  return {{"mean", mean_of(all, figure)}, {"layers", layers}};
}

nlohmann::ordered_json record_of(const TrainContext& context, const Plan& plan, const Judgement& judgement) {
  nlohmann::ordered_json json = {{"format", "kvlab scorer 1"}, {"method", "kvzap"}};
  json.update(context.provenance);
  json["fit"] = nlohmann::ordered_json::parse(plan.fit);
  json["prompt"] = plan.collect.frame.form;
  json["passages"] = plan.train;
  json["passage_tokens"] = context.values.integer("passage_tokens");
  json["samples"] = plan.sizes.samples;
  json["held_out_passages"] = plan.held_out;
  json["floor"] = plan.collect.floor;
  json["clamped"] = static_cast<double>(judgement.clamped) / static_cast<double>(judgement.targets);
  json["squared_correlation"] =
      figures(judgement.heads, plan.sizes.heads, &FitStatistics::squared_correlation);
  json["explained"] = figures(judgement.heads, plan.sizes.heads, &FitStatistics::explained);
  json["thresholds"] = threshold_table(judgement.scores);
  return json;
}

std::vector<std::string> lines_of(const Plan& plan, const Judgement& judgement) {
  std::vector<std::string> lines;
  const int heads = plan.sizes.heads;
  lines.push_back("layer  squared correlation on held-out passages, by KV head");
  for (int layer = 0; layer < plan.sizes.layers; ++layer) {
    std::string line = fmt::format("{:5} ", layer);
    for (int head = 0; head < heads; ++head)
      line += fmt::format(" {:.3f}", judgement.heads[layer * heads + head].squared_correlation());
    lines.push_back(line);
  }
  lines.push_back(fmt::format("mean {:.4f}; 1 - SSE/SST {:.4f}; {} passages fitted, {} held out",
                              mean_of(judgement.heads, &FitStatistics::squared_correlation),
                              mean_of(judgement.heads, &FitStatistics::explained), plan.train,
                              plan.held_out));
  lines.push_back(fmt::format("{} of {} scores clamped to the floor of {}", judgement.clamped,
                              judgement.targets, plan.collect.floor));
  return lines;
}

void write_trained_on(const TrainContext& context) {
  TrainedOn record(context.model->config().vocab);
  for (const TrainText& text : context.texts) record.add(text.tokens, text.name);
  record.write(trained_on_path(context.output.string()));
}

TrainReport run(const TrainContext& context) {
  const Plan plan = make_plan(context);
  SampleStore store(context.work, collect_settings(context, plan), plan.sizes, context.restart);
  if (!collect_samples(context, plan.collect, store)) return {false, {}};
  const std::vector<Surrogate> layers = fit_layers(context, plan, store);
  if (layers.empty()) return {false, {}};
  const Judgement judgement = judge(plan, store, layers);
  write_trained_on(context);
  write_kvzap(context.output, layers, record_of(context, plan, judgement));
  if (!context.keep_work) store.remove();
  return {true, lines_of(plan, judgement)};
}

FieldList fields() {
  return {
      name_field("type", "linear", {"linear", "mlp"}, "ridge regression, or two layers with a GELU between"),
      int_field("passages", 60, 1, 1 << 24, "passages to fit, drawn from the text"),
      int_field("passage_tokens", 1000, 4, 1 << 20, "tokens of a passage, give or take a quarter"),
      int_field("samples", 500, 1, 1 << 20,
                "positions of a passage to fit, drawn at random, the same in all layers"),
      int_field("held_out", {}, 1, 1 << 20,
                "passages to judge by [5% of --passages, at least 4; 20 with --held_out_path]"),
      real_field("floor", -20.0, -1000, 0, "least score, a natural logarithm; what is lower is raised to it"),
      name_field("prompt", "auto", {"auto", "chat", "plain"},
                 "how the model is asked to repeat; auto: chat where there is a template"),
      real_field("alpha", 1.0, 0, 1e12, "linear: the ridge penalty"),
      int_field("width", {}, 1, 1 << 20, "mlp: its inner layer [an eighth of the hidden size]"),
      int_field("epochs", 15, 1, 100000, "mlp: times that all samples are seen"),
      real_field("learning_rate", 1e-3, 0, 10, "mlp: of AdamW at the beginning; a cosine takes it down"),
      real_field("weight_decay", 1.0, 0, 10, "mlp: of AdamW"),
      int_field("batch", 512, 1, 1 << 20, "mlp: samples of a step"),
      real_field("clip", 1.0, 0, 1e12, "mlp: the gradient's largest norm, of each layer"),
  };
}

TrainerInfo describe() {
  TrainerInfo info;
  info.name = "kvzap";
  info.paper = "KVzap: Fast, Adaptive, and Faithful KV Cache Pruning, arXiv:2601.07891";
  info.summary = "fit a KVzap scorer: hidden states to KVzip+ scores, on passages that the model repeats";
  info.examples =
      "  kvlab train kvzap --data_path book.txt --output_dir scorer\n"
      "  kvlab train kvzap --data_path book.txt --held_out_path other.txt --type mlp --output_dir scorer\n"
      "  kvlab train kvzap --model model.gguf --data_path texts.jsonl --passages 200 --output_dir scorer\n";
  info.fields = fields();
  info.run = run;
  return info;
}

}  // namespace

extern const TrainerInfo kTrainerInfo_kvzap;
const TrainerInfo kTrainerInfo_kvzap = describe();

}  // namespace kvlab
