// A subcommand is one file of src/cli that defines `const CommandInfo kCommandInfo_<file name>`.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace kvlab {

struct CommandInfo {
  std::string name;
  std::string summary;
  std::string examples;  // shown by --help, one command a line
  // Declares the flags; what it returns runs the command and gives the exit status.
  std::function<std::function<int()>(CLI::App&)> setup;
};

const std::vector<const CommandInfo*>& registry_commands();

}  // namespace kvlab
