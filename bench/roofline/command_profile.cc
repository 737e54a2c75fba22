// kvlab_roofline profile: one recipe on one text for bench/profile.sh, which has perf look on while the
// sessions run and not while the model is loaded.
#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/inputs.h"
#include "bench/roofline/measure.h"
#include "engine/scoring.h"
#include "engine/session.h"

namespace kvlab::roofline {

namespace {

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string recipe = "none", perf_control, perf_ack;
  int length = 4096, repeats = 3;
};

// Hands a command to perf (its --control fifo:CONTROL,ACK) and waits until it is done.
void tell_perf(const Flags& f, const char* command) {
  if (f.perf_control.empty()) return;
  std::ofstream control(f.perf_control);
  control << command << "\n" << std::flush;
  std::ifstream ack(f.perf_ack);
  std::string answer;
  if (!control || !std::getline(ack, answer)) throw UserError("perf does not answer at " + f.perf_ack);
}

// Seconds in the model with the method, and in the head with the losses.
struct Parts {
  Timing extend, losses;
};

Parts score(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Method>& method,
            DType kv_type, std::span<const int32_t> tokens) {
  CacheOptions options;
  options.type = kv_type;
  Session session(model, method, options);
  HiddenStates states;
  Parts parts;
  parts.extend = timed([&] { states = session.extend(tokens); });
  parts.losses = timed([&] { token_losses(*model, states, tokens.subspan(1)); });
  return parts;
}

int run(const Flags& f) {
  if (f.perf_control.empty() != f.perf_ack.empty())
    throw UserError("give both --perf_control and --perf_ack, or neither");
  const ModelFiles files = f.model.open();
  const auto methods = make_methods(f.recipe, files.config);
  if (methods.size() != 1 || methods[0]->planned())
    throw UserError("--recipe " + f.recipe + ": expected one recipe that acts while tokens stream");
  const auto tokens = f.data.tokens(files, f.length);
  const auto model = load_model(files, {f.model.weight_type()});
  score(model, methods[0], f.model.cache_type(), std::span(tokens).first(std::min(f.length, 256)));
  Samples samples{thread_count(), {}};
  double losses = 0, all = 0;
  tell_perf(f, "enable");
  for (int i = 0; i < f.repeats; ++i) {
    const Parts parts = score(model, methods[0], f.model.cache_type(), tokens);
    samples.runs.push_back({parts.extend.wall + parts.losses.wall, parts.extend.cpu + parts.losses.cpu});
    losses += parts.losses.wall;
    all += samples.runs.back().wall;
  }
  tell_perf(f, "disable");
  fmt::print(
      "{} on {} tokens of {}, {} threads: {:.1f} tokens/s, {} of the time in the head; CPU/wall {:.3f}, {}\n",
      methods[0]->spec.recipe, f.length, files.config.name, thread_count(),
      f.length / samples.median_seconds(), percent(losses / all), samples.cpu_share(),
      samples.clean() ? "clean" : "not clean");
  return 0;
}

}  // namespace

const CommandInfo kProfileCommand = {
    "profile", "one recipe, for bench/profile.sh: perf looks on while sessions run",
    "  bench/profile.sh 'h2o(keep=0.5)' 4096\n", [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      f->data.declare(app);
      app.add_option("--recipe", f->recipe, "the method")->capture_default_str();
      app.add_option("--length", f->length, "tokens")->check(CLI::Range(2, 1 << 20))->capture_default_str();
      app.add_option("--repeats", f->repeats, "how often")->check(CLI::Range(1, 1000))->capture_default_str();
      app.add_option("--perf_control", f->perf_control, "where perf reads commands");
      app.add_option("--perf_ack", f->perf_ack, "where perf answers");
      return [f] { return run(*f); };
    }};

}  // namespace kvlab::roofline
