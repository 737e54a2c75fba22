// kvlab dump: what one run held, saw and evicted, as safetensors.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_data_flags.h"
#include "evals/dump.h"
#include "evals/ids_file.h"

namespace kvlab {

namespace {

namespace fs = std::filesystem;

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string recipe = "none", text, ids, out, what = "k,v,keep", layers, protocol = "stream",
              kvzap_scorer_model;
  int64_t document = 0, context = 0, max_length = 0;
  bool force = false, beyond_context = false, quiet = false;
};

TokenDocument read_input(const Flags& f, const ModelFiles& files) {
  const TokenOptions options{parse_yes_no("--bos", f.data.bos), f.max_length, f.beyond_context};
  if (!f.ids.empty()) return tokenize_document(read_ids_file(f.ids), nullptr, files.config, options);
  return read_one_document(f.data, f.text, f.document, files, options);
}

// "0,5" as numbers.
std::vector<int> parse_layers(const std::string& text) {
  std::vector<int> layers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int layer = 0;
    const auto [stop, error] = std::from_chars(at, end, layer);
    if (error != std::errc() || (stop != end && *stop != ',') || stop + 1 == end)
      throw UserError("--layers '" + text + "' is not understood (expected numbers, as 0,5)");
    layers.push_back(layer);
    at = stop == end ? end : stop + 1;
  }
  return layers;
}

// A name that ends in .safetensors is the file's, all else a folder's.
fs::path output_path(const Flags& f) {
  if (f.out.empty()) throw UserError("give --out FILE.safetensors, or a folder");
  fs::path path = f.out;
  if (path.extension() != ".safetensors") path /= "dump.safetensors";
  std::error_code error;
  if (fs::is_directory(path, error)) throw UserError("--out " + path.string() + " is a folder");
  if (fs::exists(path, error) && !f.force)
    throw UserError("--out " + path.string() + " is there already; give another name, or --force");
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  fs::create_directories(folder, error);
  if (error) throw UserError("--out " + folder.string() + " cannot be made: " + error.message());
  return path;
}

// Says what will be written, and refuses what the disk has no room for.
void announce(const fs::path& path, const std::vector<SafetensorsWriter::Entry>& entries, bool quiet) {
  int64_t bytes = 0;
  for (const auto& entry : entries) bytes += entry.bytes();
  if (!quiet)
    fmt::print(stderr, "{}: {} tensors, {:.1f} MB\n", path.string(), entries.size(),
               static_cast<double>(bytes) / 1e6);
  std::error_code error;
  const fs::space_info space = fs::space(path.has_parent_path() ? path.parent_path() : fs::path("."), error);
  if (!error && space.available < static_cast<uintmax_t>(bytes)) {
    throw UserError(fmt::format(
        "{}: {:.1f} MB are needed, {:.1f} MB are free; ask for less with --what, "
        "--layers or --max_length",
        path.string(), static_cast<double>(bytes) / 1e6, static_cast<double>(space.available) / 1e6));
  }
}

std::map<std::string, std::string> metadata_of(const Flags& f, const ModelFiles& files,
                                               const MethodSpec& spec, const TokenDocument& document) {
  std::map<std::string, std::string> metadata = {{"kvlab_version", KVLAB_VERSION},
                                                 {"model", files.config.name},
                                                 {"recipe", spec.recipe},
                                                 {"document", document.id},
                                                 {"token_set", token_set_hash({document})},
                                                 {"dtype", dtype_name(f.model.weight_type())},
                                                 {"kv_dtype", dtype_name(f.model.cache_type())},
                                                 {"protocol", f.protocol}};
  if (f.protocol == "prefix") metadata["context"] = std::to_string(f.context);
  return metadata;
}

void check(const Flags& f) {
  if (f.protocol != "stream" && f.protocol != "prefix")
    throw UserError("--protocol " + f.protocol + " is not known (expected stream or prefix)");
  if (f.protocol == "stream" && f.context != 0) throw UserError("--context needs --protocol prefix");
  at_least("--max_length", f.max_length, 0);
  at_least("--document", f.document, 0);
  if (f.text.empty() == f.ids.empty()) throw UserError("give either --text FILE or --ids FILE.json");
  if (f.document > 0 && f.text.empty())
    throw UserError("--document needs --text: a file of token ids is one document");
}

int run(const Flags& f) {
  check(f);
  DumpOptions options;
  choose_dump_parts(f.what, options);
  options.layers = parse_layers(f.layers);
  options.run.protocol = {f.protocol == "prefix" ? Protocol::Kind::kPrefix : Protocol::Kind::kStream,
                          f.context};
  options.run.kv_type = f.model.cache_type();
  RecipeDefaults defaults;
  defaults.scorer_model = f.model.scorer_folder(f.kvzap_scorer_model);
  const MethodSpec spec = resolve_recipe(f.recipe, defaults);
  const ModelFiles files = f.model.open();
  const TokenDocument document = read_input(f, files);
  const auto method = make_method(spec, shape_of(files.config));
  options.run.prompts = prompts_for({&spec, 1}, files);
  const auto entries = dump_tensors(*method, static_cast<int64_t>(document.tokens.size()), options);
  const fs::path path = output_path(f);
  announce(path, entries, f.quiet);
  const auto progress = terminal_progress(f.quiet);
  const auto model = f.model.load(files, *progress);
  const DocumentRun result = dump_document(model, method, document, options, path.string(),
                                           metadata_of(f, files, spec, document), *progress);
  if (stop_requested()) return kExitInterrupted;
  fmt::print(
      "{}: {} tokens, {} scored, PPL {:.4f}, density {:.4f}\n", path.string(), result.result.tokens,
      result.result.tokens_scored,
      std::exp(result.result.nll_sum / static_cast<double>(result.result.tokens_scored)),
      static_cast<double>(result.result.overall.kept) / static_cast<double>(result.result.overall.all));
  return 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_dump;
const CommandInfo kCommandInfo_dump = {
    "dump", "write keys, values, queries, attention sums and evictions of one run as safetensors",
    "  kvlab dump --text book.txt --max_length 1024 --out run.safetensors\n"
    "  kvlab dump --text books.jsonl --document 3 --what k,q,attention --layers 0,5 --out dumps/\n"
    "  kvlab dump --text book.txt --recipe 'h2o(keep=0.5)' --what keep --out h2o.safetensors\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      app.add_option("--recipe", f->recipe, "the method")->capture_default_str();
      app.add_option("--text", f->text,
                     "a text file, JSONL with a document a line, or a folder, packed or not [this or --ids]");
      f->data.declare_folder(app);
      app.add_option("--document", f->document, "which document of --text, from 0")->capture_default_str();
      app.add_option("--ids", f->ids,
                     "JSON: an array of token ids, or an object with 'tokens' [this or --text]");
      app.add_option("--out", f->out,
                     "a name that ends in .safetensors, or a folder for dump.safetensors [needed]");
      app.add_option("--what", f->what, "some of k,v,q,hidden,attention,keep,scores")->capture_default_str();
      app.add_option("--layers", f->layers, "layers of k, v, q, hidden and attention, as 0,5 [all]");
      app.add_option("--protocol", f->protocol, "stream: every token; prefix: the tokens after --context")
          ->capture_default_str();
      app.add_option("--context", f->context, "tokens of context under --protocol prefix [needed there]");
      app.add_option("--kvzap_scorer_model", f->kvzap_scorer_model, kScorerHelp);
      app.add_option("--max_length", f->max_length, "tokens to read; 0: all")->capture_default_str();
      app.add_option("--bos", f->data.bos, "yes or no: begin text with BOS [as the tokenizer says]");
      app.add_flag("--beyond_context", f->beyond_context, "allow more tokens than the model's context");
      app.add_flag("--force", f->force, "replace a file that is there");
      app.add_flag("--quiet", f->quiet, "no progress");
      return [f] { return run(*f); };
    }};

}  // namespace kvlab
