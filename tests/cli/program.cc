#include "cli/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/random.h"

extern char** environ;

namespace kvlab::testing {

namespace {

constexpr int kVocabulary = 96;

// The tests' environment. Under the leak sanitizer fontconfig's cache, which lives as long as the process, is
// left out, as in the test program itself.
std::vector<std::string> child_environment(const kvlab::TempFolder& folder) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable) variables.emplace_back(*variable);
#ifdef __SANITIZE_ADDRESS__
  std::erase_if(variables, [](const std::string& variable) { return variable.starts_with("LSAN_OPTIONS="); });
  const auto suppressions = folder.write("leaks.txt", "leak:libfontconfig\n");
  variables.push_back("LSAN_OPTIONS=print_suppressions=0:suppressions=" + suppressions.string());
#else
  static_cast<void>(folder);
#endif
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const std::string& input) {
  std::vector<std::string> words{KVLAB_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = child_environment(folder_);
  const std::string out = (folder_.path() / "out").string(), err = (folder_.path() / "err").string();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int error =
      posix_spawn(&pid_, KVLAB_BINARY, &actions, nullptr, pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start " KVLAB_BINARY);
}

Program::~Program() {
  if (!running()) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, &status_, 0);
}

bool Program::running() {
  if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
  return !ended_;
}

void Program::interrupt() {
  kill(pid_, SIGINT);
}

ProgramResult Program::wait() {
  if (!ended_) waitpid(pid_, &status_, 0);
  ended_ = true;
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_), folder_.read("out"),
          folder_.read("err")};
}

ProgramResult run_kvlab(const std::vector<std::string>& arguments, const std::string& input) {
  return Program(arguments, input).wait();
}

TinyWorkplace::TinyWorkplace(const TinyModelOptions& options) {
  model_ = write_tiny_gguf(options, folder_.path() / "tiny.gguf").string();
}

std::string TinyWorkplace::documents(const std::string& name, const std::vector<int>& lengths,
                                     bool mask) const {
  std::string text;
  for (size_t d = 0; d < lengths.size(); ++d) {
    nlohmann::json line = {{"id", "doc" + std::to_string(d)},
                           {"ids", tiny_ids(static_cast<int>(d), lengths[d])}};
    if (mask) {
      line["mask"] = nlohmann::json::array();
      for (int t = 0; t < lengths[d]; ++t) line["mask"].push_back(t % 4 == 3 ? 0 : 1);
    }
    text += line.dump() + "\n";
  }
  return write(name, text);
}

std::vector<int> tiny_ids(int document, int length) {
  std::vector<int> ids;
  for (int t = 0; t < length; ++t) {
    ids.push_back(static_cast<int>(mix64(static_cast<uint64_t>(document) << 32 | static_cast<uint32_t>(t)) %
                                   kVocabulary));
  }
  return ids;
}

}  // namespace kvlab::testing
