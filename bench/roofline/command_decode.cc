// kvlab_roofline decode: tokens one after the other, whose speed is that of reading the weights.
#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/inputs.h"
#include "bench/roofline/peaks.h"
#include "engine/scoring.h"
#include "engine/session.h"

namespace kvlab::roofline {

namespace {

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string recipe = "none";
  int batch = 1, context = 64, new_tokens = 64, repeats = 5;
  Report report{"decode"};
};

struct Decoded {
  Timing timing;
  double cache_bytes = 0;  // of the whole batch, in the middle of the run
};

// Extends every session of the batch by one token. Sessions share no work here: reading the weights once for
// all of them is what a larger batch is for, so until there is a way only one session is accepted.
void extend_batch(std::vector<Session>& batch, const Model& model, std::vector<int32_t>& tokens) {
  for (size_t i = 0; i < batch.size(); ++i) {
    const HiddenStates states = batch[i].extend({&tokens[i], 1});
    const std::vector<float> logits = next_logits(model, states, 0);
    tokens[i] = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
}

double cache_bytes(const std::vector<Session>& batch) {
  int64_t bytes = 0;
  for (const Session& session : batch) bytes += session.cache().bytes().payload;
  return static_cast<double>(bytes);
}

// The prompt is not timed.
Decoded decode(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Method>& method,
               const Flags& f, std::span<const int32_t> prompt) {
  CacheOptions options;
  options.type = f.model.cache_type();
  std::vector<Session> batch;
  for (int i = 0; i < f.batch; ++i) {
    batch.emplace_back(model, method, options);
    batch.back().extend(prompt.first(prompt.size() - 1));
  }
  std::vector<int32_t> tokens(f.batch, prompt.back());
  const double before = cache_bytes(batch);
  Decoded decoded;
  decoded.timing = timed([&] {
    for (int i = 0; i < f.new_tokens; ++i) extend_batch(batch, *model, tokens);
  });
  decoded.cache_bytes = (before + cache_bytes(batch)) / 2;
  return decoded;
}

int run(Flags& f) {
  if (f.batch != 1) {
    throw UserError(fmt::format(
        "--batch {}: only 1 is possible, since sessions cannot be extended together; give --batch 1",
        f.batch));
  }
  const ModelFiles files = f.model.open();
  const auto methods = make_methods(f.recipe, files.config);
  if (methods.size() != 1) throw UserError("--recipe " + f.recipe + ": expected one recipe");
  if (methods[0]->planned())
    throw UserError("--recipe " + f.recipe + ": needs the whole text beforehand, which decoding has not");
  const auto prompt = f.data.tokens(files, f.context);
  const Peaks peaks = measure_peaks(thread_count(), f.report);
  const auto model = load_model(files, f.model.weight_type());
  const auto weights = static_cast<double>(allocated_bytes(Account::kWeights));

  decode(model, methods[0], f, prompt);  // warms up
  Samples samples{thread_count(), {}};
  Decoded last;
  for (int repeat = 0; repeat < f.repeats; ++repeat) {
    last = decode(model, methods[0], f, prompt);
    samples.runs.push_back(last.timing);
  }
  const double steps = f.new_tokens, seconds = samples.median_seconds();
  const double bytes = weights + last.cache_bytes;
  Json row = {{"batch", f.batch},
              {"recipe", methods[0]->spec.recipe},
              {"tokens_per_second", steps * f.batch / seconds},
              {"slowest", steps * f.batch / samples.worst_seconds()},
              {"fastest", steps * f.batch / samples.best_seconds()},
              {"bytes_per_step", bytes},
              {"weight_bytes", weights},
              {"cache_bytes", last.cache_bytes},
              {"rate", bytes * steps / seconds * 1e-9},
              {"share", bytes * steps / seconds / peaks.stream_all.per_second}};
  add_cpu(row, samples);
  f.report.table(
      "decode",
      fmt::format("Decoding: {}, {}, {} threads, {} greedy tokens after {}, median of {}", files.config.name,
                  dtype_name(f.model.weight_type()), thread_count(), f.new_tokens, f.context, f.repeats),
      with_cpu({{"batch", "batch", Format::kCount},
                {"recipe", "recipe"},
                {"tokens_per_second", "tokens/s", Format::kRate},
                {"slowest", "slowest", Format::kRate},
                {"fastest", "fastest", Format::kRate},
                {"bytes_per_step", "MB a step", Format::kMegabytes},
                {"rate", "GB/s", Format::kRate},
                {"share", "of the stream", Format::kPercent}}),
      {row});
  f.report.note(
      "A step has to read the packed weights of all layers and of the head, and the keys and values stored.");
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kDecodeCommand = {
    "decode", "tokens one by one: tokens/s and share of the stream bandwidth",
    "  kvlab_roofline decode --context 64 --new 64\n", [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      f->data.declare(app);
      app.add_option("--recipe", f->recipe, "the method")->capture_default_str();
      app.add_option("--batch", f->batch, "sessions extended together")
          ->check(CLI::Range(1, 1024))
          ->capture_default_str();
      app.add_option("--context", f->context, "tokens of the prompt")
          ->check(CLI::Range(2, 1 << 20))
          ->capture_default_str();
      app.add_option("--new", f->new_tokens, "tokens to decode")
          ->check(CLI::Range(1, 1 << 20))
          ->capture_default_str();
      app.add_option("--repeats", f->repeats, "how often")->check(CLI::Range(1, 1000))->capture_default_str();
      f->report.declare(app);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab::roofline
