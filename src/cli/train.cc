// kvlab train: fits what a method needs on plain text; a trainer (src/train/trainers) is a subcommand.
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_data_flags.h"
#include "results/hash.h"
#include "train/trainer.h"

namespace kvlab {

namespace {

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string held_out_path, output_dir, work_dir;
  std::map<std::string, std::string> own;  // of the trainer's fields, as written
  int64_t seed = 0;
  bool restart = false, quiet = false;
};

// Flags that change where or how fast it runs, and not what comes out.
bool is_of_the_run(const std::string& name) {
  for (const char* other : {"--output_dir", "--work_dir", "--restart", "--quiet", "--threads", "--help"}) {
    if (name == other) return true;
  }
  return false;
}

bool is_path(const std::string& name) {
  return name == "--model" || name == "--data_path" || name == "--held_out_path";
}

// The command again, of files only their names: a record says what was used, not where it lay.
std::string command_text(const CLI::App& app) {
  std::string text = "kvlab train " + app.get_name();
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || is_of_the_run(name)) continue;
    text += " " + name;
    for (const std::string& value : option->results())
      text += " " + (is_path(name) ? std::filesystem::path(value).filename().string() : value);
  }
  return text;
}

Values own_values(const TrainerInfo& trainer, const Flags& f) {
  Values values(trainer.fields);
  for (const Field& field : trainer.fields) {
    const auto given = f.own.find(field.name);
    if (given != f.own.end() && !given->second.empty())
      values.set(field.name, field.parse(given->second, "kvlab train " + trainer.name));
  }
  return values;
}

std::vector<TrainText> read_texts(const Flags& f, const std::string& path, const ModelFiles& files) {
  TokenOptions options;
  options.bos = false;
  options.beyond_context = true;  // passages are cut from it
  std::vector<TrainText> texts;
  TokenReader reader = token_reader(open_text_data(path, f.data.options(0)), files, options);
  while (std::optional<TokenDocument> document = reader.next())
    texts.push_back({document->id, std::move(document->tokens)});
  return texts;
}

nlohmann::ordered_json describe(const std::vector<TrainText>& texts) {
  auto list = nlohmann::ordered_json::array();
  for (const TrainText& text : texts) {
    list.push_back({{"name", std::filesystem::path(text.name).filename().string()},
                    {"tokens", text.tokens.size()},
                    {"hash", hash_tokens(text.tokens)}});
  }
  return list;
}

nlohmann::ordered_json provenance(const CLI::App& app, const ModelFiles& files, const ModelFlags& model,
                                  const TrainContext& context) {
  const std::string path = files.weights->path();
  const bool one_file = std::filesystem::is_regular_file(path) && !path.ends_with(".json");
  nlohmann::ordered_json json;
  json["command"] = command_text(app);
  json["kvlab"] = KVLAB_VERSION;
  json["model"] = files.config.name;
  json["model_hash"] = one_file ? nlohmann::ordered_json(hash_file(path)) : nullptr;
  json["dtype"] = dtype_name(model.weight_type());
  json["kv_dtype"] = dtype_name(model.cache_type());
  json["seed"] = context.seed;
  json["texts"] = describe(context.texts);
  json["held_out_texts"] = describe(context.held_out);
  return json;
}

// Texts given as ids need no tokenizer; where there is none, prompts have no words.
std::shared_ptr<const Tokenizer> tokenizer_for(const Flags& f, const ModelFiles& files) {
  if (f.data.tokens_field.empty()) return open_tokenizer_of(files);
  try {
    return open_tokenizer_of(files);
  } catch (const UserError& error) {
    fmt::print(stderr, "note: {}; prompts have no words around the passages\n", error.what());
    return nullptr;
  }
}

int run(const TrainerInfo& trainer, const CLI::App& app, const Flags& f) {
  TrainContext context;
  context.values = own_values(trainer, f);
  at_least("--seed", f.seed, 0);
  if (f.output_dir.empty()) throw UserError("--output_dir FOLDER is needed: where the result goes");
  prepare_folder(f.output_dir);
  context.output = f.output_dir;
  context.work = f.work_dir.empty() ? context.output / ".work" : std::filesystem::path(f.work_dir);
  context.keep_work = !f.work_dir.empty();
  context.restart = f.restart;
  context.seed = static_cast<uint64_t>(f.seed);
  const ModelFiles files = f.model.open();
  context.tokenizer = tokenizer_for(f, files);
  context.texts = read_texts(f, f.data.path_or_corpus(), files);
  if (!f.held_out_path.empty()) context.held_out = read_texts(f, f.held_out_path, files);
  context.provenance = provenance(app, files, f.model, context);
  context.cache_type = f.model.cache_type();
  const auto progress = terminal_progress(f.quiet);
  context.progress = progress.get();
  context.model = f.model.load(files, *progress);
  const TrainReport report = trainer.run(context);
  for (const std::string& line : report.lines) fmt::print("{}\n", line);
  if (!report.finished) {
    if (std::filesystem::exists(context.work))
      fmt::print(stderr, "stopped: the same command goes on from {}\n", context.work.string());
    else
      fmt::print(stderr, "stopped: nothing was kept\n");
    return kExitInterrupted;
  }
  fmt::print("written: {}\n", context.output.string());
  return 0;
}

void declare(const TrainerInfo& trainer, CLI::App& app, Flags& f) {
  f.model.declare(app);
  f.data.declare(app);
  app.add_option("--held_out_path", f.held_out_path,
                 "another text to judge the result by [passages of --data_path that are not fitted]");
  app.add_option("--output_dir", f.output_dir, "the folder that the result is written to");
  app.add_option(
      "--work_dir", f.work_dir,
      "where samples lie meanwhile; one that is given is kept, so that another fit need not collect "
      "them again [.work in --output_dir, removed at the end]");
  app.add_flag("--restart", f.restart, "begin anew, whatever an interrupted run has left");
  app.add_option("--seed", f.seed, "of all that is drawn at random")->capture_default_str();
  app.add_flag("--quiet", f.quiet, "no progress");
  for (const Field& field : trainer.fields)
    app.add_option("--" + field.name, f.own[field.name], field.help + " (" + field.range_text() + ")");
}

std::function<int()> setup(CLI::App& app) {
  app.require_subcommand(0, 1);
  auto work = std::make_shared<std::function<int()>>();
  for (const TrainerInfo* trainer : registry_trainers()) {
    CLI::App* const own = app.add_subcommand(trainer->name, trainer->summary);
    auto f = std::make_shared<Flags>();
    declare(*trainer, *own, *f);
    own->footer("Paper: " + trainer->paper + "\n\nExamples:\n" + trainer->examples);
    own->allow_extras();
    own->callback([=] { *work = [=] { return run(*trainer, *own, *f); }; });
  }
  return [work, &app] {
    if (*work) return (*work)();
    std::string known;
    for (const TrainerInfo* trainer : registry_trainers())
      known += (known.empty() ? "" : ", ") + trainer->name;
    if (app.remaining_size() > 0)
      throw UserError("kvlab train " + app.remaining().front() + " is not known (expected " + known + ")");
    throw UserError("kvlab train needs to know what (expected " + known + ")");
  };
}

}  // namespace

extern const CommandInfo kCommandInfo_train;
const CommandInfo kCommandInfo_train = {"train",
                                        "fit what a method needs, such as a KVzap scorer, on plain text",
                                        "  kvlab train kvzap --data_path book.txt --output_dir scorer\n"
                                        "  kvlab train kvzap --help\n",
                                        setup};

}  // namespace kvlab
