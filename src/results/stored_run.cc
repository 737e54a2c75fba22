#include "results/stored_run.h"

#include <cmath>
#include <fstream>

#include "base/error.h"

namespace kvlab {

namespace {

using Json = nlohmann::ordered_json;

std::filesystem::path details_of(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw UserError(path.string() + ": no such file or folder");
  const bool folder = std::filesystem::is_directory(path, error);
  if (!folder && path.filename() != "comparison_summary.json") return path;
  const std::filesystem::path place = folder ? path : path.parent_path();
  const std::filesystem::path details = place / "detailed_results.json";
  if (std::filesystem::exists(details, error)) return details;
  if (std::filesystem::exists(place / "ppl_summary.json", error) ||
      std::filesystem::exists(place / "ppl.json", error)) {
    throw UserError(path.string() +
                    ": results of `kvlab ppl`, which keep no losses by block to pair; run `kvlab compare` on "
                    "the data, or compare the ΔNLL that ppl gives against its own baseline");
  }
  throw UserError(path.string() +
                  ": no detailed_results.json (expected a folder written by `kvlab compare`)");
}

Json parse_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw UserError("cannot be read");
  return Json::parse(stream);
}

// Throws for what a damaged file may hold; the caller adds the file's name.
StoredDocument stored_document(const Json& json) {
  StoredDocument document;
  document.index = json.at("index").get<int64_t>();
  document.id = json.at("id").get<std::string>();
  const auto tokens = json.at("block_tokens").get<std::vector<int64_t>>();
  const auto losses = json.at("nll_blocks").get<std::vector<double>>();
  int64_t scored = 0;
  for (size_t b = 0; b < tokens.size() && b < losses.size(); ++b) {
    if (tokens[b] < 1 || !std::isfinite(losses[b])) break;
    scored += tokens[b];
    document.blocks.push_back({static_cast<double>(tokens[b]), losses[b]});
  }
  if (tokens.size() != losses.size() || scored != json.at("tokens_scored").get<int64_t>()) {
    throw UserError("document '" + document.id + "': block_tokens and nll_blocks do not fit its " +
                    json.at("tokens_scored").dump() + " scored tokens");
  }
  return document;
}

std::vector<StoredDocument> stored_documents(const Json& row) {
  std::vector<StoredDocument> documents;
  for (const Json& json : row.at("documents")) documents.push_back(stored_document(json));
  return documents;
}

bool same_blocks(const StoredDocument& a, const StoredDocument& b) {
  const auto equal = [](const TokenSum& x, const TokenSum& y) { return x.tokens == y.tokens; };
  return a.index == b.index &&
         std::equal(a.blocks.begin(), a.blocks.end(), b.blocks.begin(), b.blocks.end(), equal);
}

std::vector<StoredDocument> mean_over_seeds(const Json& seeds) {
  std::vector<StoredDocument> mean;
  const double weight = 1.0 / static_cast<double>(seeds.size());
  for (const Json& seed : seeds) {
    const std::vector<StoredDocument> documents = stored_documents(seed);
    if (mean.empty()) {
      mean = documents;
      for (StoredDocument& document : mean) {
        for (TokenSum& block : document.blocks) block.sum = 0;
      }
    }
    if (!std::equal(mean.begin(), mean.end(), documents.begin(), documents.end(), same_blocks))
      throw UserError("row " + seed.at("recipe").dump() + ": its seeds have different documents");
    for (size_t d = 0; d < mean.size(); ++d) {
      for (size_t b = 0; b < mean[d].blocks.size(); ++b)
        mean[d].blocks[b].sum += weight * documents[d].blocks[b].sum;
    }
  }
  return mean;
}

StoredRow stored_row(const Json& json) {
  StoredRow row;
  row.name = json.at("name").get<std::string>();
  row.recipe = json.at("recipe").get<std::string>();
  row.status = json.at("status").get<std::string>();
  if (row.status == "SKIPPED" || row.status == "FAILED") return row;
  const Json& seeds = json.at("seed_results");
  row.documents = seeds.empty() ? stored_documents(json) : mean_over_seeds(seeds);
  return row;
}

}  // namespace

StoredRun read_stored_run(const std::filesystem::path& path) {
  StoredRun run;
  run.file = details_of(path);
  try {
    const Json json = parse_file(run.file);
    run.config = json.at("config");
    run.model = run.config.at("model").get<std::string>();
    run.model_path = run.config.at("model_path").get<std::string>();
    run.data_path = run.config.at("data_path").get<std::string>();
    run.token_set = run.config.at("token_set").get<std::string>();
    run.documents = run.config.at("documents").get<int64_t>();
    const Json hash = run.config.value("model_hash", Json(nullptr));
    if (!hash.is_null()) run.model_hash = hash.get<std::string>();
    for (const Json& row : json.at("methods")) run.rows.push_back(stored_row(row));
  } catch (const nlohmann::json::exception& error) {
    throw UserError(
        run.file.string() +
        ": not the whole detailed_results.json of this version's `kvlab compare`: " + error.what());
  } catch (const UserError& error) {
    throw UserError(run.file.string() + ": " + error.what());
  }
  return run;
}

}  // namespace kvlab
