#include "cli/common.h"
#include "models/memory_warning.h"
#include "results/environment.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/gemm.h"

namespace kvlab {

namespace {

std::filesystem::path share_folder() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path() : program.parent_path().parent_path() / "share" / "kvlab";
}

DType parse_dtype(const std::string& flag, const std::string& text) {
  if (text == "f32" || text == "float32") return DType::kF32;
  if (text == "bf16" || text == "bfloat16") return DType::kBF16;
  throw UserError(flag + " " + text + " is not known (expected f32 or bf16)");
}

// Draws at most ten times a second; where the output is no terminal, a line every ten percent, or every ten
// steps of work whose end is not known.
class TerminalProgress : public Progress {
 public:
  TerminalProgress() : tty_(isatty(STDERR_FILENO) && !dumb()) {}

  void begin(const std::string& what, int64_t total) override {
    what_ = what;
    total_ = total;
    start_ = last_ = Clock::now();
    tenth_ = 0;
    drawn_ = false;
  }
  void step(int64_t done, const std::string& note) override {
    const auto now = Clock::now();
    if (tty_) {
      if (drawn_ && done != total_ && now - last_ < std::chrono::milliseconds(100)) return;
      draw(done, note, now);
    } else if (const int64_t tenth = total_ > 0 ? done * 10 / total_ : done / 10;
               tenth > tenth_ && now - start_ > std::chrono::seconds(2)) {
      tenth_ = tenth;
      if (total_ > 0) {
        fmt::print(stderr, "{}: {}/{} ({}%){}\n", what_, done, total_, done * 100 / total_,
                   remaining(done, now));
      } else {
        fmt::print(stderr, "{}: {}\n", what_, done);
      }
    }
  }
  void end() override {
    if (tty_ && drawn_) fmt::print(stderr, "\r\033[K");
    drawn_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static bool dumb() {
    const char* term = std::getenv("TERM");
    return term && std::string(term) == "dumb";
  }
  std::string remaining(int64_t done, Clock::time_point now) const {
    const double seconds = std::chrono::duration<double>(now - start_).count();
    if (done == 0 || done > total_ || seconds < 1) return "";
    return fmt::format(", {:.0f} s left",
                       seconds / static_cast<double>(done) * static_cast<double>(total_ - done));
  }
  void draw(int64_t done, const std::string& note, Clock::time_point now) {
    last_ = now;
    drawn_ = true;
    constexpr int64_t kWidth = 24;
    if (total_ <= 0) {
      fmt::print(stderr, "\r\033[K{} {}  {:.40}", what_, done, note);
      std::fflush(stderr);
      return;
    }
    const auto filled = static_cast<size_t>(std::min(kWidth, done * kWidth / total_));
    fmt::print(stderr, "\r\033[K{} [{}{}] {}/{}{}  {:.40}", what_, std::string(filled, '#'),
               std::string(kWidth - filled, '.'), done, total_, remaining(done, now), note);
    std::fflush(stderr);
  }

  bool tty_;
  std::string what_;
  int64_t total_ = 1;
  Clock::time_point start_, last_;
  int64_t tenth_ = 0;
  bool drawn_ = false;
};

class Quiet : public Progress {
 public:
  void begin(const std::string&, int64_t) override {}
  void step(int64_t, const std::string&) override {}
  void end() override {}
};

}  // namespace

std::filesystem::path default_model_path() {
  const auto folder = share_folder() / "models";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".gguf") return entry.path();
  }
  return {};
}

std::filesystem::path default_corpus_path() {
  const auto path = share_folder() / "corpus" / "corpus.jsonl";
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}

std::filesystem::path default_scorer_path() {
  const auto path = share_folder() / "scorers" / "kvzap-linear-smollm2-135m";
  return std::filesystem::exists(path / "config.json") ? path : std::filesystem::path();
}

void ModelFlags::declare(CLI::App& app) {
  app.add_option("--model", model, "GGUF file or Hugging Face folder [the built-in SmolLM2-135M-Instruct]");
  app.add_option("--dtype", dtype, "f32 or bf16: weights and arithmetic [bf16 where the processor has it]");
  app.add_option("--kv_dtype", kv_dtype,
                 "f32 or bf16: stored keys and values [f32 with --dtype f32, else bf16]");
  app.add_option("--threads", threads, "threads [all cores]")->check(CLI::Range(1, 1024));
}

ModelFiles ModelFlags::open() const {
  if (threads > 0) set_thread_count(threads);
  if (!model.empty()) return open_model(model);
  const auto path = default_model_path();
  if (path.empty())
    throw UserError("the built-in model is not installed: run scripts/setup.sh, or give --model PATH");
  return open_model(path.string());
}

std::shared_ptr<const Model> ModelFlags::load(const ModelFiles& files, Progress& progress,
                                              DecodeWeights decode) const {
  for (const std::string& note : files.notes)
    fmt::print(stderr, "note: {}: {}\n", files.weights->path(), note);
  const DType type = weight_type();
  const auto warning = memory_warning(weight_bytes(files, type), available_memory_bytes(), type);
  if (warning) fmt::print(stderr, "warning: {}: {}\n", files.config.name, *warning);
  return load_model(files, {type, decode}, progress);
}

DType ModelFlags::weight_type() const {
  if (dtype.empty()) return cpu_has_bf16_dot() ? DType::kBF16 : DType::kF32;
  const DType type = parse_dtype("--dtype", dtype);
  if (type == DType::kBF16 && !cpu_has_bf16_dot()) {
    throw UserError("--dtype bf16: this processor has no bf16 dot products; give --dtype f32");
  }
  return type;
}

DType ModelFlags::cache_type() const {
  if (!kv_dtype.empty()) return parse_dtype("--kv_dtype", kv_dtype);
  return weight_type() == DType::kF32 ? DType::kF32 : DType::kBF16;
}

std::string ModelFlags::scorer_folder(const std::string& given) const {
  if (given == "none") return "";
  return given.empty() && model.empty() ? default_scorer_path().string() : given;
}

std::shared_ptr<const Tokenizer> open_tokenizer_of(const ModelFiles& files) {
  const std::filesystem::path path = files.weights->path();
  const bool in_folder =
      path.extension() == ".safetensors" || path.extension() == ".json";  // the index of shards
  return open_tokenizer(in_folder ? path.parent_path().string() : path.string());
}

std::shared_ptr<const ReconstructionPrompts> prompts_for(std::span<const MethodSpec> specs,
                                                         const ModelFiles& files) {
  const auto may_repeat = [](const MethodSpec& spec) { return spec.uses(ScorerKind::kContext); };
  if (std::none_of(specs.begin(), specs.end(), may_repeat)) return nullptr;
  ReconstructionPrompts prompts;
  try {
    prompts = reconstruction_prompts(*open_tokenizer_of(files));
  } catch (const UserError& error) {  // matters only if such a method runs
    prompts.problem = error.what();
  }
  return std::make_shared<const ReconstructionPrompts>(std::move(prompts));
}

std::optional<bool> parse_yes_no(const std::string& flag, const std::string& text) {
  if (text.empty()) return std::nullopt;
  if (text == "yes") return true;
  if (text == "no") return false;
  throw UserError(flag + " " + text + " is not known (expected yes or no)");
}

std::optional<double> parse_margin(const std::string& flag, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const bool percent = text.back() == '%';
  const char* const end = text.data() + text.size() - percent;
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (percent) value /= 100;
  // 1 without a sign would be 100 %, and is meant as 1 % by most who write it.
  if (error == std::errc() && stop == end && value > 0 && value < 1) return value;
  throw UserError(flag + " " + text + " is out of range (expected above 0 and below 100%, as 1% or 0.01)");
}

void at_least(const char* flag, int64_t value, int64_t least) {
  if (value < least)
    throw UserError(fmt::format("{} {} is out of range (expected {} or more)", flag, value, least));
}

void prepare_folder(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder, error) && !std::filesystem::is_directory(folder, error)) {
    throw UserError("--output_dir " + folder.string() + " is a file, expected a folder");
  }
  std::filesystem::create_directories(folder, error);
  if (error) throw UserError("--output_dir " + folder.string() + " cannot be made: " + error.message());
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    throw UserError("--output_dir " + folder.string() + " cannot be written: " + std::strerror(errno));
  }
}

int terminal_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 0;
}

std::unique_ptr<Progress> terminal_progress(bool quiet) {
  if (quiet) return std::make_unique<Quiet>();
  return std::make_unique<TerminalProgress>();
}

}  // namespace kvlab
