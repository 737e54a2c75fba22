// kvlab_roofline long: whether speed and memory stay as they are while one text goes on and on.
#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/inputs.h"
#include "bench/roofline/peaks.h"
#include "engine/scoring.h"
#include "results/environment.h"

namespace kvlab::roofline {

namespace {

constexpr int kQuarters = 4;

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string recipes = "streaming_llm(size=1024) h2o(size=1024)";
  int64_t tokens = 32768, control_tokens = 8192;
  Report report{"long"};
};

struct Quarter {
  Timing timing;
  int64_t tokens = 0, kv_bytes = 0, peak_resident = 0;
};

// Goes through the text block by block and drops each block's hidden states once its losses are known.
// Each quarter's peak of resident memory is its own where the system lets the peak be reset.
std::vector<Quarter> run_long(const std::shared_ptr<const Model>& model,
                              const std::shared_ptr<const Method>& method, DType kv_type,
                              std::span<const int32_t> tokens) {
  CacheOptions options;
  options.type = kv_type;
  Session session(model, method, options);
  std::vector<Quarter> quarters;
  for (int number = 0; number < kQuarters; ++number) {
    const size_t first = tokens.size() * number / kQuarters, end = tokens.size() * (number + 1) / kQuarters;
    Quarter quarter;
    quarter.tokens = static_cast<int64_t>(end - first);
    reset_peak_resident();
    quarter.timing = timed([&] {
      for (size_t at = first; at < end;) {
        const size_t rows = std::min<size_t>(Session::kMaxBlock, end - at);
        const HiddenStates states = session.extend(tokens.subspan(at, rows));
        const size_t targets = std::min(rows, tokens.size() - at - 1);  // the last token predicts nothing
        token_losses(*model, states, tokens.subspan(at + 1, targets));
        at += rows;
      }
    });
    quarter.kv_bytes = session.cache().bytes().total();
    quarter.peak_resident = peak_resident_bytes();
    quarters.push_back(quarter);
  }
  return quarters;
}

double speed(const Quarter& quarter) {
  return static_cast<double>(quarter.tokens) / quarter.timing.wall;
}

void add_rows(const std::string& recipe, const std::vector<Quarter>& quarters, std::vector<Json>& rows) {
  for (int number = 0; number < kQuarters; ++number) {
    const Quarter& quarter = quarters[number];
    Json row = {{"recipe", recipe},
                {"quarter", number + 1},
                {"tokens", quarter.tokens},
                {"tokens_per_second", speed(quarter)},
                {"of_first", speed(quarter) / speed(quarters[0])},
                {"kv_bytes", quarter.kv_bytes},
                {"peak_resident", quarter.peak_resident}};
    add_cpu(row, {thread_count(), {quarter.timing}});
    rows.push_back(std::move(row));
  }
}

int run(Flags& f) {
  if (f.control_tokens != 0) at_least("--control_tokens", f.control_tokens, 2 * kQuarters);
  const ModelFiles files = f.model.open();
  auto methods = make_methods(f.recipes, files.config);
  for (const auto& method : methods) {
    if (method->planned())
      throw UserError("--recipes " + method->spec.recipe + ": keeps no text's hidden states for a plan");
  }
  methods.push_back(make_method(no_compression(), shape_of(files.config)));
  const auto tokens = f.data.tokens(files, std::max(f.tokens, f.control_tokens));
  measure_peaks(thread_count(), f.report);
  const auto model = load_model(files, {f.model.weight_type()});
  std::vector<Json> rows;
  for (const auto& method : methods) {
    const int64_t count = method->scorer ? f.tokens : f.control_tokens;
    if (count == 0) continue;
    add_rows(
        method->spec.recipe,
        run_long(model, method, f.model.cache_type(), std::span(tokens).first(static_cast<size_t>(count))),
        rows);
  }
  f.report.table("long",
                 fmt::format("One long text in quarters: {}, {}, {} threads", files.config.name,
                             dtype_name(f.model.weight_type()), thread_count()),
                 with_cpu({{"recipe", "recipe"},
                           {"quarter", "quarter", Format::kCount},
                           {"tokens", "tokens", Format::kCount},
                           {"tokens_per_second", "tokens/s", Format::kRate},
                           {"of_first", "of the first", Format::kRatio},
                           {"kv_bytes", "kv_bytes, MB", Format::kMegabytes},
                           {"peak_resident", "peak resident, MB", Format::kMegabytes}}),
                 rows);
  f.report.note(
      "The text begins anew where the data ends and goes beyond the model's context; its losses mean "
      "nothing. "
      "kv_bytes at a quarter's end; the peak of resident memory, weights included, within a quarter.");
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kLongCommand = {
    "long", "one long text under a fixed budget: speed and memory by quarters",
    "  kvlab_roofline long --tokens 32768 --recipes 'h2o(size=1024)' --control_tokens 0\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      f->data.declare(app);
      app.add_option("--tokens", f->tokens, "tokens of the text")
          ->check(CLI::Range(2 * kQuarters, 1 << 24))
          ->capture_default_str();
      app.add_option("--control_tokens", f->control_tokens,
                     "tokens of the run without compression; 0: leave it out")
          ->check(CLI::Range(0, 1 << 24))
          ->capture_default_str();
      app.add_option("--recipes", f->recipes, "recipes, with blanks between them")->capture_default_str();
      f->report.declare(app);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab::roofline
