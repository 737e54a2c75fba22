// Runs the built kvlab program as a user would, and small models and data to run it on.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace kvlab::testing {

struct ProgramResult {
  int exit_code = -1;  // 128 + signal when one ended it
  std::string out, err;
};

// A started program. Its output goes to files, so it never waits for a reader. `input` is a file to read as
// standard input.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, const std::string& input = "/dev/null");
  ~Program();  // ends it if it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool running();
  std::string output() const { return folder_.read("out"); }  // so far
  void interrupt();                                           // Ctrl-C
  ProgramResult wait();

 private:
  kvlab::TempFolder folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

ProgramResult run_kvlab(const std::vector<std::string>& arguments, const std::string& input = "/dev/null");

// A folder with a tiny model (vocabulary 96, context 512, no tokenizer) and a place for data and results.
class TinyWorkplace {
 public:
  explicit TinyWorkplace(const TinyModelOptions& options = {});
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    return folder_.write(name, text).string();
  }
  std::string read(const std::string& name) const { return folder_.read(name); }
  const std::string& model() const { return model_; }
  // A JSONL file of documents with `ids`, one of each length, and, with `mask`, a mask that leaves out every
  // fourth token.
  std::string documents(const std::string& name, const std::vector<int>& lengths, bool mask = false) const;

 private:
  kvlab::TempFolder folder_;
  std::string model_;
};

// The ids of such a document, the same for the same arguments.
std::vector<int> tiny_ids(int document, int length);

}  // namespace kvlab::testing
