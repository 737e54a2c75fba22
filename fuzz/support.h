// What the fuzz targets share: a folder for the input, and the rule of what counts as an answer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "models/config.h"
#include "tokenizer/tokenizer.h"

namespace kvlab::fuzz {

using Input = std::span<const uint8_t>;

inline std::string_view text_of(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

// A folder of its own, gone when the program ends. Readers take paths, so that is how an input reaches them.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  // Gives the file's path.
  std::string write(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

// Runs `use`. A UserError is an answer when its text holds `name` (say, of the file); true: none was thrown.
// Everything else that is thrown is a finding and goes through.
bool answers(const std::string& name, const std::function<void()>& use);

// A finding unless `condition` holds.
void require(bool condition, const std::string& what);

// Reads every tensor, up to a total that keeps one input fast.
void read_tensors(const Weights& weights);

// Encodes and decodes a text of many scripts with the tokenizer.
void use_tokenizer(const Tokenizer& tokenizer);

}  // namespace kvlab::fuzz
