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
  std::string batches = "1,8", decode_weights = "packed";
  int context = 64, new_tokens = 64, repeats = 5;
  Report report{"decode"};
};

struct Decoded {
  Timing timing;
  double cache_bytes = 0;  // of the whole batch, in the middle of the run
};

// Extends every session of the batch by one token, all together, and takes the most likely next ones.
void extend_batch(std::vector<Session>& batch, const Model& model, std::vector<int32_t>& tokens) {
  std::vector<Session*> sessions;
  std::vector<std::span<const int32_t>> next;
  for (size_t i = 0; i < batch.size(); ++i) {
    sessions.push_back(&batch[i]);
    next.push_back({&tokens[i], 1});
  }
  const std::vector<HiddenStates> states = Session::extend_together(sessions, next);
  HiddenStates rows;
  rows.rows = static_cast<int64_t>(batch.size());
  rows.size = states[0].size;
  rows.values = Buffer<float>(static_cast<size_t>(rows.rows) * rows.size);
  for (size_t i = 0; i < batch.size(); ++i)
    std::copy_n(states[i].row(0), rows.size, rows.values.data() + i * static_cast<size_t>(rows.size));
  tokens = most_likely(model, rows);
}

double cache_bytes(const std::vector<Session>& batch) {
  int64_t bytes = 0;
  for (const Session& session : batch) bytes += session.cache().bytes().payload;
  return static_cast<double>(bytes);
}

// The prompt is not timed.
Decoded decode(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Method>& method,
               const Flags& f, int size, std::span<const int32_t> prompt) {
  CacheOptions options;
  options.type = f.model.cache_type();
  std::vector<Session> batch;
  for (int i = 0; i < size; ++i) {
    batch.emplace_back(model, method, options);
    batch.back().extend(prompt.first(prompt.size() - 1));
  }
  std::vector<int32_t> tokens(size, prompt.back());
  const double before = cache_bytes(batch);
  Decoded decoded;
  decoded.timing = timed([&] {
    for (int i = 0; i < f.new_tokens; ++i) extend_batch(batch, *model, tokens);
  });
  decoded.cache_bytes = (before + cache_bytes(batch)) / 2;
  return decoded;
}

void check_recipe(const Flags& f, const std::vector<std::shared_ptr<const Method>>& methods) {
  if (methods.size() != 1) throw UserError("--recipe " + f.recipe + ": expected one recipe");
  if (methods[0]->planned())
    throw UserError("--recipe " + f.recipe + ": needs the whole text beforehand, which decoding has not");
}

Json row_of(const Flags& f, int batch, const std::string& recipe, const Samples& samples, double weight_bytes,
            double cache_bytes, double stream) {
  const double steps = f.new_tokens, tokens = steps * batch, bytes = weight_bytes + cache_bytes;
  const double rate = bytes * steps / samples.median_seconds();
  Json row = {{"batch", batch},
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
                   {"of_first", "of the first", Format::kRatio},
                   {"slowest", "slowest", Format::kRate},
                   {"fastest", "fastest", Format::kRate},
                   {"bytes_per_step", "MB a step", Format::kMegabytes},
                   {"rate", "GB/s", Format::kRate},
                   {"share", "of the stream", Format::kPercent}});
}

int run(Flags& f) {
  const ModelFiles files = f.model.open();
  const auto methods = make_methods(f.recipe, files.config);
  check_recipe(f, methods);
  const auto prompt = f.data.tokens(files, f.context);
  const Peaks peaks = measure_peaks(thread_count(), f.report);
  const auto model = load_model(
      files,
      {f.model.weight_type(), f.decode_weights == "file" ? DecodeWeights::kFile : DecodeWeights::kPacked});
  std::vector<Json> rows;
  for (const int64_t size : parse_lengths("--batches", f.batches, 1)) {
    const int batch = static_cast<int>(size);
    decode(model, methods[0], f, batch, prompt);  // warms up
    Samples samples{thread_count(), {}};
    double cache_bytes = 0;
    for (int repeat = 0; repeat < f.repeats; ++repeat) {
      const Decoded decoded = decode(model, methods[0], f, batch, prompt);
      samples.runs.push_back(decoded.timing);
      cache_bytes = decoded.cache_bytes;
    }
    rows.push_back(row_of(f, batch, methods[0]->spec.recipe, samples,
                          static_cast<double>(model->step_bytes(batch)), cache_bytes,
                          peaks.stream_all.per_second));
    rows.back()["of_first"] =
        rows.back()["tokens_per_second"].get<double>() / rows.front()["tokens_per_second"].get<double>();
  }
  f.report.table(
      "decode",
      fmt::format("Decoding: {}, {}, {} weights, {} threads, {} greedy tokens after {}, median of {}",
                  files.config.name, dtype_name(f.model.weight_type()), f.decode_weights, thread_count(),
                  f.new_tokens, f.context, f.repeats),
      columns(), rows);
  f.report.note(
      "A step has to read the weights of all layers and of the head, packed or as the file has them, and the "
      "keys and values stored.");
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kDecodeCommand = {
    "decode", "tokens one by one: tokens/s and share of the stream bandwidth",
    "  kvlab_roofline decode --batches 1,8 --decode_weights file\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      f->data.declare(app);
      app.add_option("--recipe", f->recipe, "the method")->capture_default_str();
      app.add_option("--batches", f->batches, "numbers of sessions extended together")->capture_default_str();
      app.add_option("--decode_weights", f->decode_weights, "packed, or file: quantised as the file has them")
          ->check(CLI::IsMember({"packed", "file"}))
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
