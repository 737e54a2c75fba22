// What the name of a data file says of it: what it holds, and of which split and shard it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace kvlab {

enum class DataKind {
  kOther,
  kText,     // .txt, .text, .raw, .tokens, .md
  kRows,     // .jsonl, .ndjson, .json: an object a line
  kColumns,  // .parquet, .arrow: not read
  kArchive,  // .tar: not read
};

struct DataName {
  DataKind kind = DataKind::kOther;
  std::string stem;      // without folder, endings and shard: "c4-validation"
  std::string split;     // "validation"; "": the name says none
  int64_t shard = -1;    // -1: not numbered
  bool notices = false;  // README, LICENSE, dataset_info.json and the like: about the data, and none itself
};

// .gz, .zst and .zstd at the end do not count: "c4-validation.00000-of-00008.json.gz" holds rows.
// Splits are told from names as data sets are published: SPLIT, X-SPLIT, wiki.SPLIT, each perhaps with
// -00000-of-00004 or -00000 behind it.
DataName data_name(const std::filesystem::path& path);

// The file's name without .gz, .zst or .zstd behind it.
std::filesystem::path unpacked_name(const std::filesystem::path& path);

// One spelling for a split: "val" and "valid" are "validation".
std::string canonical_split(const std::string& split);

// Why a file of columns is not read, and the command that makes JSONL of it.
std::string columns_refusal(const std::filesystem::path& path);

}  // namespace kvlab
