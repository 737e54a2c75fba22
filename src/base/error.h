// Errors and checks. A user's mistake throws UserError with the value and the fix in its text; a bug of kvlab
// trips KVLAB_CHECK. The library never prints and never exits: only the command line does.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kvlab {

// Something the user gave is wrong: a flag, a recipe, a file. The program prints the text on one line and
// exits with 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A bug in kvlab. The text names the file and the line.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void check_failed(const char* file, int line, const char* what);

#define KVLAB_CHECK(condition)                                               \
  do {                                                                       \
    if (!(condition)) ::kvlab::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)

// The name of `known` nearest to `name` by edit distance, or "" when none is near (for "did you mean").
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace kvlab
