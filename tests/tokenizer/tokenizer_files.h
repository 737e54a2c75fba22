// Files and folders for the tokenizer tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

namespace kvlab::testing {

// The folder of shared goldens; tests that need it skip where it is not.
inline std::string shared_path(const std::string& name) {
  const char* folder = std::getenv("KVLAB_SHARED");
  return std::string(folder ? folder : KVLAB_SOURCE_DIR "/../shared") + "/" + name;
}

inline std::string default_model_path() {
  return KVLAB_SOURCE_DIR "/.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

inline bool exists(const std::string& path) {
  return std::filesystem::exists(path);
}

inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A new empty folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "kvlab_tokenizer_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::shared_ptr<const Tokenizer> open_json(const Folder& folder, const nlohmann::json& tokenizer) {
  write_text(folder.file("tokenizer.json"), tokenizer.dump());
  return open_tokenizer(folder.path());
}

// The text of the UserError that `body` throws; "" when it throws none.
template <typename Body>
std::string user_error(Body&& body) {
  try {
    body();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

// A tokenizer.json of 256 bytes, the tokens that `merges` make, and one special token "<|end|>".
nlohmann::json tiny_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges);

// Random valid UTF-8 of `count` code points from all planes in use, letters and spaces most often.
std::string random_text(uint64_t seed, int count);

}  // namespace kvlab::testing

#define KVLAB_NEED_FILE(path) \
  if (!kvlab::testing::exists(path)) GTEST_SKIP() << "needs " << (path)
