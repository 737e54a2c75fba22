// Damaging a file in every way that a test can think of. A reader must refuse damaged input with a UserError
// that names the file, or read it; it must never crash.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace kvlab::testing {

std::string read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

// The text of the UserError that `use` throws, or "" when it throws none.
std::string error_text(const std::function<void()>& use);

// Opens a model (a folder or a GGUF file) and reads every tensor of it.
void read_all(const std::string& path);

// Runs `use`, which throws UserError for damaged input; says whether it did. Fails the test when the text of
// the error lacks `name` or when anything else is thrown. `what` describes the case.
bool refuses(const std::function<void()>& use, const std::string& name, const std::string& what);

struct DamageCounts {
  int cases = 0, refused = 0;
};

// Cuts `bytes` to many lengths, at least `cases` of them (every length where the file is short), writes each
// to `path` and runs `use`, which must refuse all of them.
DamageCounts truncate_everywhere(const std::string& bytes, const std::string& path, int cases,
                                 const std::function<void()>& use);

// Changes one to four bytes among the first `reach` ones, `cases` times. Errors must name the file, or `name`
// if given.
DamageCounts flip_bytes(const std::string& bytes, const std::string& path, size_t reach, int cases,
                        uint64_t seed, const std::function<void()>& use, std::string name = "");

}  // namespace kvlab::testing
