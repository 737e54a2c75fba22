// Training: a trainer fits something that a method needs (a scorer's weights, filters, statistics) on plain
// text and writes it into a folder. A trainer is one file of src/train/trainers that defines
// `const TrainerInfo kTrainerInfo_<file name>`; `kvlab train` makes a subcommand of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fields.h"
#include "base/progress.h"
#include "models/model.h"
#include "tensor/dtype.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

// A document as token ids, without BOS.
struct TrainText {
  std::string name;
  std::vector<int32_t> tokens;
};

struct TrainContext {
  std::shared_ptr<const Model> model;
  DType cache_type = DType::kF32;              // of the keys and values that are looked at
  std::shared_ptr<const Tokenizer> tokenizer;  // null: the model has none, and texts were given as ids
  std::vector<TrainText> texts;
  std::vector<TrainText> held_out;  // texts of their own to judge the result by; empty: parts of `texts`
  std::filesystem::path output;     // a folder that exists
  std::filesystem::path work;       // what an interrupted run continues from; made by the trainer
  bool keep_work = false;           // leave it there at the end
  bool restart = false;             // do not continue what lies there
  uint64_t seed = 0;
  Values values;  // of the trainer's own fields
  // Where the result comes from, as the caller knows it: command, model, texts. Trainers add to it.
  nlohmann::ordered_json provenance = nlohmann::ordered_json::object();
  Progress* progress = &silent_progress();
};

struct TrainReport {
  bool finished = true;            // false: stopped on request; the same call goes on where it stopped
  std::vector<std::string> lines;  // what to tell the user
};

struct TrainerInfo {
  std::string name;      // the file's name
  std::string paper;     // authors, title, arXiv number
  std::string summary;   // one line
  std::string examples;  // one command a line, indented by two blanks
  FieldList fields;
  // Throws UserError: texts too short, work or output of another run, a full disk.
  std::function<TrainReport(const TrainContext&)> run;
};

// All trainers, by file name.
const std::vector<const TrainerInfo*>& registry_trainers();

}  // namespace kvlab
