#include "evals/data_files.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <tuple>

#include "base/error.h"
#include "evals/data_names.h"

namespace kvlab {

namespace {

namespace fs = std::filesystem;

struct Entry {
  fs::path path;
  DataName name;
};
using Entries = std::vector<Entry>;

bool holds_documents(const Entry& entry) {
  return entry.name.kind == DataKind::kText || entry.name.kind == DataKind::kRows;
}

// The data files of a folder, those that kvlab does not read included, by name.
Entries list_files(const fs::path& folder) {
  Entries entries;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (!item.is_regular_file() || item.path().filename().string().starts_with(".")) continue;
    Entry entry{item.path(), data_name(item.path())};
    if (entry.name.notices) continue;
    if (holds_documents(entry) || entry.name.kind == DataKind::kColumns) entries.push_back(std::move(entry));
  }
  if (error) throw UserError("cannot read " + folder.string() + ": " + error.message());
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
  return entries;
}

// The data files of a folder, or of the folder `data` in it.
Entries list_data(const fs::path& folder) {
  Entries entries = list_files(folder);
  if (entries.empty() && fs::is_directory(folder / "data")) entries = list_files(folder / "data");
  return entries;
}

std::string list_of(const std::set<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

// The folders with data files, in `folder` or in the folder `data` in it.
std::set<std::string> configs_in(const fs::path& folder) {
  std::set<std::string> configs;
  for (const fs::path& place : {folder, folder / "data"}) {
    std::error_code error;
    for (const auto& item : fs::directory_iterator(place, error)) {
      const std::string name = item.path().filename().string();
      const bool is_place = place == folder && name == "data";
      if (!item.is_directory() || name.starts_with(".") || is_place) continue;
      if (!list_data(item.path()).empty()) configs.insert(name);
    }
  }
  return configs;
}

Entries files_of_config(const fs::path& folder, const std::string& config) {
  for (const fs::path& place : {folder / config, folder / "data" / config}) {
    if (!fs::is_directory(place)) continue;
    Entries entries = list_data(place);
    if (!entries.empty()) return entries;
  }
  throw UserError("--dataset_config " + config + ": " + folder.string() +
                  " has no such folder of data (folders of data there: " + list_of(configs_in(folder)) + ")");
}

Entries files_of_only_config(const fs::path& folder) {
  Entries entries = list_data(folder);
  if (!entries.empty()) return entries;
  const std::set<std::string> configs = configs_in(folder);
  if (configs.size() == 1) return files_of_config(folder, *configs.begin());
  if (!configs.empty()) {
    throw UserError(folder.string() + ": holds several data sets; choose one with --dataset_config (" +
                    list_of(configs) + ")");
  }
  throw UserError(folder.string() +
                  ": holds no text files (.txt, .text, .raw, .tokens, .md) and no JSONL (.jsonl, .ndjson, "
                  ".json), packed (.gz, .zst) or not");
}

std::set<std::string> splits_of(const Entries& entries) {
  std::set<std::string> splits;
  for (const Entry& entry : entries) {
    if (!entry.name.split.empty()) splits.insert(entry.name.split);
  }
  return splits;
}

// Also files that are called like a split of a name that kvlab does not know: SPLIT.jsonl.
bool is_of_split(const DataName& name, const std::string& split) {
  return name.split.empty() ? name.stem == split : name.split == canonical_split(split);
}

Entries of_split(const Entries& entries, const std::string& split, const fs::path& folder) {
  Entries chosen;
  for (const Entry& entry : entries) {
    if (is_of_split(entry.name, split)) chosen.push_back(entry);
  }
  if (!chosen.empty()) return chosen;
  throw UserError("--split " + split + ": " + folder.string() +
                  " has no such split (splits there: " + list_of(splits_of(entries)) + ")");
}

// True when the folder has a single split and nothing else.
bool is_one_split(const Entries& entries, const fs::path& folder) {
  const std::set<std::string> splits = splits_of(entries);
  if (splits.size() > 1) {
    throw UserError(folder.string() + ": holds several splits; choose one with --split (" + list_of(splits) +
                    ")");
  }
  return splits.size() == 1 && std::all_of(entries.begin(), entries.end(),
                                           [](const Entry& entry) { return !entry.name.split.empty(); });
}

Entries of_kind(const Entries& entries, DataKind kind) {
  Entries chosen;
  for (const Entry& entry : entries) {
    if (entry.name.kind == kind) chosen.push_back(entry);
  }
  return chosen;
}

// By their numbers, which may be written without leading zeros.
void sort_shards(Entries& entries) {
  const auto key = [](const Entry& entry) {
    return std::make_tuple(entry.name.stem, entry.name.shard, entry.path);
  };
  std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) { return key(a) < key(b); });
}

// A split is one file or shards of one name: the same text as text and as rows, or packed and unpacked, would
// count twice.
Entries shards_of(Entries entries) {
  std::erase_if(entries, [](const Entry& entry) { return !holds_documents(entry); });
  sort_shards(entries);
  for (size_t i = 1; i < entries.size(); ++i) {
    const Entry &before = entries[i - 1], &entry = entries[i];
    const bool numbered = before.name.shard >= 0 && before.name.shard < entry.name.shard;
    if (numbered && entry.name.stem == before.name.stem && entry.name.kind == before.name.kind) continue;
    throw UserError(before.path.string() + " and " + entry.path.filename().string() +
                    " are of one split but no shards of one file; name one of them as --data_path");
  }
  return entries;
}

// Texts where there are any, one after the other by name; else rows, by their numbers.
Entries books_of(const Entries& entries) {
  Entries texts = of_kind(entries, DataKind::kText);
  if (!texts.empty()) return texts;
  Entries rows = of_kind(entries, DataKind::kRows);
  sort_shards(rows);
  return rows;
}

}  // namespace

DataFiles find_data_files(const fs::path& path, const std::string& split, const std::string& config) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (!split.empty() || !config.empty())
      throw UserError("--split and --dataset_config need a folder, and " + path.string() + " is none");
    return {{path}, path.filename().string()};
  }
  const Entries all = config.empty() ? files_of_only_config(path) : files_of_config(path, config);
  const Entries candidates = split.empty() ? all : of_split(all, split, path);
  const bool one_split = !split.empty() || is_one_split(all, path);
  const Entries entries = one_split ? shards_of(candidates) : books_of(candidates);
  if (entries.empty()) throw UserError(columns_refusal(candidates.front().path));
  DataFiles result;
  for (const Entry& entry : entries) result.files.push_back(entry.path);
  const fs::path& first = result.files.front();
  result.id = result.files.size() == 1 ? first.filename().string() : entries.front().name.stem;
  return result;
}

}  // namespace kvlab
