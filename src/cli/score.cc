// kvlab score: one text under one recipe, as JSON for scripts.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_data_flags.h"
#include "evals/contamination.h"
#include "evals/document_run.h"
#include "evals/ids_file.h"
#include "results/environment.h"

namespace kvlab {

namespace {

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string recipe = "none", text, ids, protocol = "stream", kvzap_scorer_model;
  int64_t context = 0, max_length = 0, extend_size = 0;
  bool live = false, argmax = false, beyond_context = false;
};

TokenDocument read_input(const Flags& f, const ModelFiles& files) {
  const TokenOptions options{parse_yes_no("--bos", f.data.bos), f.max_length, f.beyond_context};
  if (!f.ids.empty()) return tokenize_document(read_ids_file(f.ids), nullptr, files.config, options);
  return read_one_document(f.data, f.text, 0, files, options);
}

nlohmann::ordered_json output(const DocumentRun& run, const TokenDocument& document, bool live) {
  const DocumentResult& r = run.result;
  nlohmann::ordered_json json;
  json["ids"] = document.tokens;
  json["nll"] = run.nll;
  json["ppl"] = std::exp(r.nll_sum / static_cast<double>(r.tokens_scored));
  json["kv_bytes"] = r.kv_bytes;
  json["kv_bytes_peak"] = r.kv_bytes_peak;
  json["kv_bytes_baseline"] = r.kv_bytes_baseline;
  json["density"] = static_cast<double>(r.overall.kept) / static_cast<double>(r.overall.all);
  json["density_seen"] = r.seen_visible / r.seen_dense;
  json["seconds"] = r.seconds;
  if (live) json["live_at_end"] = run.live;
  return json;
}

int run(const Flags& f) {
  if (f.protocol != "stream" && f.protocol != "prefix") {
    throw UserError("--protocol " + f.protocol + " is not known (expected stream or prefix)");
  }
  if (f.protocol == "stream" && f.context != 0) throw UserError("--context needs --protocol prefix");
  if (f.max_length < 0)
    throw UserError(fmt::format("--max_length {} is out of range (expected 0 or more)", f.max_length));
  if (f.extend_size < 0)
    throw UserError(fmt::format("--extend_size {} is out of range (expected 0 or more)", f.extend_size));
  RecipeDefaults defaults;
  defaults.scorer_model = f.model.scorer_folder(f.kvzap_scorer_model);
  const MethodSpec spec = resolve_recipe(f.recipe, defaults);
  if (f.text.empty() == f.ids.empty()) throw UserError("give either --text FILE or --ids FILE.json");
  const ModelFiles files = f.model.open();
  const TokenDocument document = read_input(f, files);
  const auto method = make_method(spec, shape_of(files.config));
  const auto phases = spec.phases();
  const bool learned =
      std::any_of(phases.begin(), phases.end(), [](const auto* p) { return p->scorer->learned; });
  const auto tokenizer = learned && f.ids.empty() ? open_tokenizer_of(files) : nullptr;
  Contamination contamination({document.tokens}, vocabularies_of(files.config, tokenizer.get()));
  const TrainedOnThis trained = contamination.of(spec);
  for (const std::string& note : trained_on_notes(trained)) fmt::print(stderr, "warning: {}\n", note);
  RunOptions options;
  options.protocol = {f.protocol == "prefix" ? Protocol::Kind::kPrefix : Protocol::Kind::kStream, f.context};
  options.kv_type = f.model.cache_type();
  options.extend_size = f.extend_size;
  options.prompts = prompts_for({&spec, 1}, files);
  const auto model = f.model.load(files, silent_progress());
  const bool fresh_peak = reset_peak_resident();
  const int64_t resident = resident_bytes();
  const DocumentRun result = run_document(model, method, document, options);
  auto json = output(result, document, f.live);
  if (f.argmax) json["argmax"] = most_likely(*model, result.hidden);
  set_trained_on(json, trained);
  json["rss_after_load"] = resident;
  json["rss_peak"] = fresh_peak ? nlohmann::ordered_json(peak_resident_bytes()) : nullptr;
  fmt::print("{}\n", json.dump());
  return 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_score;
const CommandInfo kCommandInfo_score = {
    "score", "print the loss of every token of one text under one recipe, as JSON",
    "  kvlab score --text book.txt --recipe 'h2o(size=512)' --max_length 4096\n"
    "  kvlab score --ids tokens.json --dtype f32 --recipe 'knorm(keep=0.5,at=context)' --protocol prefix "
    "--context 384\n"
    "  kvlab score --text wikitext/ --split test --join gptq --max_length 2048\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      app.add_option("--recipe", f->recipe, "the method, with its budget (none: no compression)")
          ->capture_default_str();
      app.add_option("--text", f->text,
                     "a text file, or the first document of JSONL or of a folder, packed or not [this or "
                     "--ids]");
      f->data.declare_folder(app);
      app.add_option("--ids", f->ids,
                     "JSON: an array of token ids, or an object with 'tokens' [this or --text]");
      app.add_option("--protocol", f->protocol, "stream: every token; prefix: the tokens after --context")
          ->capture_default_str();
      app.add_option("--context", f->context, "tokens of context under --protocol prefix [needed there]");
      app.add_option("--kvzap_scorer_model", f->kvzap_scorer_model, kScorerHelp);
      app.add_option("--max_length", f->max_length, "tokens to read; 0: all")->capture_default_str();
      app.add_option("--extend_size", f->extend_size,
                     "tokens per extend; 0: all at once. The result does not depend on it")
          ->capture_default_str();
      app.add_option("--bos", f->data.bos, "yes or no: begin text with BOS [as the tokenizer says]");
      app.add_flag("--beyond_context", f->beyond_context, "allow more tokens than the model's context");
      app.add_flag("--live", f->live, "add live_at_end: positions per layer and KV head");
      app.add_flag("--argmax", f->argmax, "add argmax: for every token scored, the likeliest in its place");
      return [f] { return run(*f); };
    }};

}  // namespace kvlab
