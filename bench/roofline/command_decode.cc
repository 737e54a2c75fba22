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

// What --batch and --recipe must not be.
void check(const Flags& f, const std::vector<std::shared_ptr<const Method>>& methods) {
  if (f.batch != 1) {
    throw UserError(fmt::format(
        "--batch {}: only 1 is possible, since sessions cannot be extended together; give --batch 1",
        f.batch));
  }
  if (methods.size() != 1) throw UserError("--recipe " + f.recipe + ": expected one recipe");
  if (methods[0]->planned())
    throw UserError("--recipe " + f.recipe + ": needs the whole text beforehand, which decoding has not");
}

Json row_of(const Flags& f, const std::string& recipe, const Samples& samples, double weight_bytes,
            double cache_bytes, double stream) {
  const double steps = f.new_tokens, tokens = steps * f.batch, bytes = weight_bytes + cache_bytes;
  const double rate = bytes * steps / samples.median_seconds();
  Json row = {{"batch", f.batch},
              {"recipe", recipe},
              {"tokens_per_second", tokens / samples.median_seconds()},
              {"slowest", tokens / samples.worst_seconds()},
              {"fastest", tokens / samples.best_seconds()},
              {"bytes_per_step", bytes},
              {"weight_bytes", weight_bytes},
              {"cache_bytes", cache_bytes},
              {"rate", rate * 1e-9},
              {"share", rate / stream}};
  add_cpu(row, samples);
  return row;
}

std::vector<Column> columns() {
  return with_cpu({{"batch", "batch", Format::kCount},
                   {"recipe", "recipe"},
                   {"tokens_per_second", "tokens/s", Format::kRate},
                   {"slowest", "slowest", Format::kRate},
                   {"fastest", "fastest", Format::kRate},
                   {"bytes_per_step", "MB a step", Format::kMegabytes},
                   {"rate", "GB/s", Format::kRate},
                   {"share", "of the stream", Format::kPercent}});
}

int run(Flags& f) {
  const ModelFiles files = f.model.open();
  const auto methods = make_methods(f.recipe, files.config);
  check(f, methods);
  const auto prompt = f.data.tokens(files, f.context);
  const Peaks peaks = measure_peaks(thread_count(), f.report);
  const auto model = load_model(files, {f.model.weight_type()});
  const auto weight_bytes = static_cast<double>(allocated_bytes(Account::kWeights));

  decode(model, methods[0], f, prompt);  // warms up
  Samples samples{thread_count(), {}};
  double cache_bytes = 0;
  for (int repeat = 0; repeat < f.repeats; ++repeat) {
    const Decoded decoded = decode(model, methods[0], f, prompt);
    samples.runs.push_back(decoded.timing);
    cache_bytes = decoded.cache_bytes;
  }
  f.report.table(
      "decode",
      fmt::format("Decoding: {}, {}, {} threads, {} greedy tokens after {}, median of {}", files.config.name,
                  dtype_name(f.model.weight_type()), thread_count(), f.new_tokens, f.context, f.repeats),
      columns(),
      {row_of(f, methods[0]->spec.recipe, samples, weight_bytes, cache_bytes, peaks.stream_all.per_second)});
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
