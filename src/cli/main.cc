// The command line. Subcommands are files of this folder; this file parses, runs one, and turns errors into
// one line and an exit status: 0 done, 2 a mistake in what was given, 70 a bug of kvlab, 130 interrupted.
#include <unistd.h>
#include <csignal>
#include <cstdlib>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"

namespace kvlab {
namespace {

// The first Ctrl-C lets the work in hand stop in good order, a second one ends the program.
void on_interrupt(int) {
  if (stop_requested()) _exit(kExitInterrupted);
  request_stop();
  const char text[] = "\nstopping; what is finished is kept (Ctrl-C again to quit at once)\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text, sizeof text - 1);
}

// Flags may be spelled with hyphens or underscores: --max-length is --max_length.
std::vector<std::string> folded_flags(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (argument.size() < 3 || argument[0] != '-' || argument[1] != '-') continue;
    for (size_t i = 2; i < argument.size() && argument[i] != '='; ++i) {
      if (argument[i] == '-') argument[i] = '_';
    }
  }
  return arguments;
}

// `kvlab help` and `kvlab help COMMAND` are other spellings of --help.
void spell_help(std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] != "help") return;
  arguments.erase(arguments.begin());
  arguments.push_back("--help");
}

void check_command(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0].rfind('-', 0) == 0) return;
  std::vector<std::string> names;
  for (const CommandInfo* info : registry_commands()) names.push_back(info->name);
  if (std::find(names.begin(), names.end(), arguments[0]) != names.end()) return;
  const std::string near = nearest_name(arguments[0], names);
  throw UserError("unknown command '" + arguments[0] + "'" +
                  (near.empty() ? "" : "; did you mean '" + near + "'?") + " (kvlab --help lists all)");
}

std::string suggestion(const CLI::App& app, const std::string& unknown) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) known.push_back(option->get_name());
  const std::string near = nearest_name(unknown, known);
  return near.empty() ? "" : "; did you mean " + near + "?";
}

// "kvlab train kvzap"
std::string full_name(const CLI::App& command) {
  return command.get_parent() ? full_name(*command.get_parent()) + " " + command.get_name() : "kvlab";
}

[[noreturn]] void refuse_extras(const CLI::App& command) {
  const std::vector<std::string> extras = command.remaining();
  const std::string flag = extras.empty() ? "" : extras.front().substr(0, extras.front().find('='));
  const std::string name = full_name(command);
  throw UserError("unknown argument '" + flag + "'" + suggestion(command, flag) + " (" + name +
                  " --help lists all)");
}

// Threads that wait at a barrier should spin briefly and then sleep: libgomp's default spins for
// milliseconds, which on a machine with other work slows everybody. It reads its settings when it is loaded,
// so the program starts itself anew with the setting, once; what the user has set wins.
void spin_briefly(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "10000", 1);
  execv("/proc/self/exe", argv);  // on failure: go on as it is
}

int run(int argc, char** argv) {
  CLI::App app("kvlab: runs language models with a compressed KV cache and tells what that costs and saves",
               "kvlab");
  app.set_version_flag("--version", "kvlab " KVLAB_VERSION);
  app.require_subcommand(0, 1);
  app.footer(
      "kvlab COMMAND --help, or kvlab help COMMAND, lists a command's flags with examples.\n"
      "Exit status: 0 done, 2 a mistake in what was given, 70 a bug, 130 interrupted.");
  std::vector<std::pair<CLI::App*, std::function<int()>>> commands;
  for (const CommandInfo* info : registry_commands()) {
    CLI::App* command = app.add_subcommand(info->name, info->summary);
    command->footer("Examples:\n" + info->examples);
    command->allow_extras();
    commands.emplace_back(command, info->setup(*command));
  }
  std::vector<std::string> arguments = folded_flags(argc, argv);
  spell_help(arguments);
  check_command(arguments);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(arguments);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ExtrasError&) {
    refuse_extras(app);
  } catch (const CLI::ParseError& error) {
    throw UserError(error.what());
  }
  for (auto& [command, work] : commands) {
    if (!command->parsed()) continue;
    const std::vector<CLI::App*> inner = command->get_subcommands();
    const CLI::App& named = inner.empty() ? *command : *inner.front();
    if (named.remaining_size() > 0 && (!inner.empty() || command->get_subcommands({}).empty()))
      refuse_extras(named);
    return work();
  }
  fmt::print("{}", app.help());
  return 0;
}

}  // namespace
}  // namespace kvlab

int main(int argc, char** argv) {
  kvlab::spin_briefly(argv);
  std::signal(SIGINT, kvlab::on_interrupt);
  std::signal(SIGTERM, kvlab::on_interrupt);
  try {
    return kvlab::run(argc, argv);
  } catch (const kvlab::UserError& error) {
    fmt::print(stderr, "kvlab: {}\n", error.what());
    return kvlab::kExitUserError;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "kvlab: out of memory\n");
    return kvlab::kExitInternal;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kvlab: {}\n", error.what());
    return kvlab::kExitInternal;
  }
}
