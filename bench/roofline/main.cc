// kvlab_roofline: what this machine can do, and what share of it kvlab reaches, measured in one run.
#include <cstdlib>
#include <utility>
#include <vector>

#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "bench/roofline/commands.h"
#include "cli/common.h"

namespace kvlab::roofline {
namespace {

// As the command line program does, so that the same is measured: threads that wait spin briefly and then
// sleep, which libgomp has to be told before it is loaded. OMP_WAIT_POLICY=passive leaves spinning out
// altogether.
void spin_briefly(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "10000", 1);
  execv("/proc/self/exe", argv);
}

int run(int argc, char** argv) {
  CLI::App app("kvlab_roofline: peaks of this machine, and the share of them that kvlab reaches",
               "kvlab_roofline");
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App*, std::function<int()>>> commands;
  for (const CommandInfo* info : {&kPeaksCommand, &kKernelsCommand, &kRunCommand, &kDecodeCommand,
                                  &kShapeCommand, &kLongCommand, &kProfileCommand}) {
    CLI::App* command = app.add_subcommand(info->name, info->summary);
    command->footer("Examples:\n" + info->examples);
    commands.emplace_back(command, info->setup(*command));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    throw UserError(error.what());
  }
  for (auto& [command, work] : commands) {
    if (command->parsed()) return work();
  }
  return 0;
}

}  // namespace
}  // namespace kvlab::roofline

int main(int argc, char** argv) {
  kvlab::roofline::spin_briefly(argv);
  try {
    return kvlab::roofline::run(argc, argv);
  } catch (const kvlab::UserError& error) {
    fmt::print(stderr, "kvlab_roofline: {}\n", error.what());
    return kvlab::kExitUserError;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kvlab_roofline: {}\n", error.what());
    return kvlab::kExitInternal;
  }
}
