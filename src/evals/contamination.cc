#include "evals/contamination.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>

namespace kvlab {

namespace {

// Without folders, also where the path ends in '/'.
std::string base_name(const std::string& path) {
  const std::filesystem::path whole = path;
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace

std::vector<int64_t> vocabularies_of(const ModelConfig& config, const Tokenizer* tokenizer) {
  if (!tokenizer || tokenizer->vocab_size() == config.vocab) return {config.vocab};
  return {tokenizer->vocab_size(), config.vocab};
}

std::vector<std::span<const int32_t>> ids_of(const std::vector<TokenDocument>& documents) {
  std::vector<std::span<const int32_t>> ids;
  for (const TokenDocument& document : documents) ids.emplace_back(document.tokens);
  return ids;
}

Contamination::Contamination(std::vector<std::span<const int32_t>> documents,
                             std::vector<int64_t> vocabularies)
    : documents_(std::move(documents)), vocabularies_(std::move(vocabularies)) {}

std::vector<Contamination::File> Contamination::files_of(const MethodSpec& spec) {
  std::vector<File> files;
  const auto add_paths = [&](const FieldList& fields, const Values& values, const std::string& owner) {
    for (const Field& field : fields) {
      if (field.type != Field::Type::kPath || !values.given(field.name)) continue;
      const std::string& path = values.text(field.name);
      files.push_back({path, owner + "'s " + base_name(path)});
    }
  };
  for (const MethodSpec* phase : spec.phases()) {
    const std::string& name = phase->scorer->name;
    if (phase->scorer->learned && !phase->model_path.empty())
      files.push_back({phase->model_path, "scorer " + name, true});
    add_paths(phase->scorer->fields, phase->values, name);
    for (const WrapperSpec& wrapper : phase->wrappers)
      add_paths(wrapper.info->fields, wrapper.values, wrapper.info->name);
    if (phase->policy.table)
      files.push_back({phase->policy.table->source, "budget " + base_name(phase->policy.table->source)});
  }
  return files;
}

const std::optional<TrainedOn>& Contamination::record_beside(const std::string& path) {
  const auto known = records_.find(path);
  return known != records_.end() ? known->second : records_[path] = read_trained_on(path);
}

void Contamination::look_up(const NamedRecord& named, std::vector<int64_t>& places,
                            TrainedOnThis& row) const {
  const TrainedOn& record = *named.record;
  if (std::find(vocabularies_.begin(), vocabularies_.end(), record.vocabulary()) == vocabularies_.end()) {
    std::string known;
    for (const int64_t vocabulary : vocabularies_)
      known += (known.empty() ? "" : " or ") + std::to_string(vocabulary);
    row.unknown.push_back(
        fmt::format("the record of {} is in ids of another tokenizer: its vocabulary has {}, this one {}",
                    named.what, record.vocabulary(), known));
    return;
  }
  int64_t found = 0;
  for (size_t d = 0; d < documents_.size(); ++d) {
    const int64_t here = record.overlap(documents_[d]);
    places[d] += here;
    found += here;
  }
  if (found > 0) row.fitted.push_back(named.what);
}

TrainedOnThis Contamination::of(const MethodSpec& spec, const std::vector<NamedRecord>& others) {
  TrainedOnThis row;
  row.evaluated = static_cast<int64_t>(documents_.size());
  std::vector<int64_t> places(documents_.size());
  std::set<std::string> seen;
  for (const File& file : files_of(spec)) {
    if (!seen.insert(file.path).second) continue;  // both phases read it
    if (const std::optional<TrainedOn>& record = record_beside(file.path)) {
      look_up({&*record, file.what}, places, row);
    } else if (file.learned) {
      row.unknown.push_back("no record of the text that " + file.what + " was trained on");
    }
  }
  for (const NamedRecord& named : others) look_up(named, places, row);
  for (const int64_t here : places) {
    row.documents += here > 0;
    row.shingles += here;
  }
  return row;
}

}  // namespace kvlab
