// The help says what a flag does when it is not given, and every way of asking for it gives the same text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "cli/program.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;
using testing::ProgramResult;
using testing::run_kvlab;

// The names under "Subcommands:" in kvlab --help.
std::vector<std::string> command_names() {
  std::istringstream help(run_kvlab({"--help"}).out);
  std::vector<std::string> names;
  std::string line;
  while (std::getline(help, line) && line != "Subcommands:") {
  }
  while (std::getline(help, line) && line.rfind("  ", 0) == 0)
    names.push_back(line.substr(2, line.find(' ', 2) - 2));
  return names;
}

// One text per flag of a command's help: its line and the indented ones that follow.
std::vector<std::string> flag_texts(const std::string& command) {
  std::istringstream help(run_kvlab({command, "--help"}).out);
  std::vector<std::string> flags;
  std::string line;
  while (std::getline(help, line) && line.rfind("Examples:", 0) != 0) {
    if (line.rfind("  -", 0) == 0) {
      flags.push_back(line);
    } else if (!flags.empty() && line.rfind("    ", 0) == 0) {
      flags.back() += line;
    }
  }
  return flags;
}

TEST(Help, HelpCommandIsTheFlag) {
  EXPECT_EQ(run_kvlab({"help"}).out, run_kvlab({"--help"}).out);
  const ProgramResult compare = run_kvlab({"help", "compare"});
  EXPECT_EQ(compare.exit_code, 0);
  EXPECT_EQ(compare.out, run_kvlab({"compare", "--help"}).out);
  EXPECT_THAT(compare.out, HasSubstr("--compression_ratio"));
}

TEST(Help, HelpOnAnUnknownCommandNamesTheNearest) {
  const ProgramResult result = run_kvlab({"help", "compar"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("did you mean 'compare'?"));
}

// "=value" behind the type, or "[what happens without it]" in the text.
TEST(Help, FlagsWithAValueSayTheirDefault) {
  const std::vector<std::string> commands = command_names();
  ASSERT_GE(commands.size(), 5u);
  for (const std::string& command : commands) {
    const std::vector<std::string> flags = flag_texts(command);
    ASSERT_FALSE(flags.empty()) << command;
    for (const std::string& flag : flags) {
      if (!std::regex_search(flag, std::regex("--[a-z_]+ [A-Z]+"))) continue;
      EXPECT_TRUE(std::regex_search(flag, std::regex("--[a-z_]+ [A-Z]+=|\\[")))
          << "kvlab " << command << ": no default in" << flag;
    }
  }
}

TEST(Help, EveryCommandHasExamplesThatCallIt) {
  for (const std::string& command : command_names()) {
    const std::string help = run_kvlab({command, "--help"}).out;
    const size_t examples = help.find("Examples:\n");
    ASSERT_NE(examples, std::string::npos) << command;
    EXPECT_THAT(help.substr(examples), HasSubstr("  kvlab " + command)) << command;
  }
}

}  // namespace
}  // namespace kvlab
