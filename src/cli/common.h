// What the subcommands share: flags for models, default files, the progress bar, exit statuses.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <CLI/CLI.hpp>

#include "base/progress.h"
#include "engine/reconstruction.h"
#include "engine/session.h"
#include "models/config.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

inline constexpr int kExitUserError = 2;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitInterrupted = 130;

// Files that come with kvlab, found beside the program (../share/kvlab). Empty path: not there.
std::filesystem::path default_model_path();
std::filesystem::path default_corpus_path();
std::filesystem::path default_scorer_path();  // of the built-in model

inline constexpr const char* kScorerHelp =
    "folder of a KVzap scorer (config.json, model.safetensors), or none [of the built-in model the one that "
    "comes "
    "with it, else none: kvzap is SKIPPED]";

struct ModelFlags {
  std::string model, dtype, kv_dtype;
  int threads = 0;

  void declare(CLI::App& app);
  ModelFiles open() const;  // the file or folder, or the default model; throws UserError
  // Loads what open() gave: says what the reader noticed, and warns when the weights will not fit in memory.
  std::shared_ptr<const Model> load(const ModelFiles& files, Progress& progress,
                                    DecodeWeights decode = DecodeWeights::kPacked) const;
  DType weight_type() const;
  DType cache_type() const;
  // The folder of --kvzap_scorer_model: `given`, "" for none, and when it is not given the scorer that comes
  // with the built-in model, where that is the model.
  std::string scorer_folder(const std::string& given) const;
};

// What to say when `needed` bytes of weights are more than `available` ones; 0 available: not known.
std::optional<std::string> memory_warning(int64_t needed, int64_t available, DType type);

// The tokenizer that comes with a model. For a Hugging Face folder the weights' path is a file in it, or the
// folder.
std::shared_ptr<const Tokenizer> open_tokenizer_of(const ModelFiles& files);

// What methods that repeat the context feed ahead of it; null where none of `specs` does.
std::shared_ptr<const ReconstructionPrompts> prompts_for(std::span<const MethodSpec> specs,
                                                         const ModelFiles& files);

// --bos yes|no; unset: as the tokenizer says.
std::optional<bool> parse_yes_no(const std::string& flag, const std::string& text);

// --margin 1% or 0.01, above 0 and below 100 %; unset: none.
std::optional<double> parse_margin(const std::string& flag, const std::string& text);

// Throws UserError naming the flag when the value is below `least`.
void at_least(const char* flag, int64_t value, int64_t least);

// Makes --output_dir, or throws UserError. Before any work: hours of it must not end in a folder that cannot
// be written.
void prepare_folder(const std::filesystem::path& folder);

// Columns of the terminal behind standard output; 0 where there is none.
int terminal_width();

// A bar on standard error when that is a terminal, a line now and then when it is not, nothing when quiet.
std::unique_ptr<Progress> terminal_progress(bool quiet);

}  // namespace kvlab
