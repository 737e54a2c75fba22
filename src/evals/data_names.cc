#include "evals/data_names.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>

namespace kvlab {

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Takes the ending off and gives it, in lower case and without its dot; "" where there is none.
std::string take_extension(std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0) return "";
  const std::string extension = lower(name.substr(dot + 1));
  name.resize(dot);
  return extension;
}

DataKind kind_of(const std::string& extension) {
  for (const char* text : {"txt", "text", "raw", "tokens", "md"}) {
    if (extension == text) return DataKind::kText;
  }
  for (const char* rows : {"jsonl", "ndjson", "json"}) {
    if (extension == rows) return DataKind::kRows;
  }
  if (extension == "parquet" || extension == "arrow") return DataKind::kColumns;
  if (extension == "tar" || extension == "tgz") return DataKind::kArchive;
  return DataKind::kOther;
}

bool is_separator(char c) {
  return c == '-' || c == '.' || c == '_';
}

// Where the digits that end `text` begin.
size_t digits_begin(std::string_view text) {
  size_t at = text.size();
  while (at > 0 && std::isdigit(static_cast<unsigned char>(text[at - 1]))) --at;
  return at;
}

// Takes "-00003-of-00008" or "-00003" off the end and gives the number; -1 where there is none.
int64_t take_shard(std::string& stem, bool& of_many) {
  size_t end = stem.size(), begin = digits_begin(stem);
  constexpr std::string_view kOf = "-of-";
  of_many = begin < end && std::string_view(stem).substr(0, begin).ends_with(kOf);
  if (of_many) {
    end = begin - kOf.size();
    begin = digits_begin(std::string_view(stem).substr(0, end));
  }
  int64_t shard = -1;
  const auto [stop, error] = std::from_chars(stem.data() + begin, stem.data() + end, shard);
  if (error != std::errc() || begin < 2 || !is_separator(stem[begin - 1])) {
    of_many = false;
    return -1;
  }
  stem.resize(begin - 1);
  return shard;
}

bool known_split(const std::string& name) {
  const std::string split = canonical_split(name);
  return split == "train" || split == "validation" || split == "test" || split == "dev";
}

std::string split_of(const std::string& stem, bool of_many) {
  const size_t separator = stem.find_last_of("-._");
  const std::string last = separator == std::string::npos ? stem : stem.substr(separator + 1);
  if (known_split(last)) return canonical_split(last);
  return of_many ? stem : "";
}

bool is_notice(const std::string& stem, const std::string& extension) {
  const std::string name = lower(stem);
  if (extension == "json")
    return name == "dataset_info" || name == "dataset_infos" || name == "dataset_dict" || name == "state";
  return name == "readme" || name == "license" || name == "source";
}

}  // namespace

std::string canonical_split(const std::string& split) {
  const std::string name = lower(split);
  if (name == "val" || name == "valid" || name == "validation") return "validation";
  if (name == "train" || name == "training") return "train";
  if (name == "test" || name == "testing") return "test";
  return name == "dev" ? name : split;
}

std::filesystem::path unpacked_name(const std::filesystem::path& path) {
  const std::filesystem::path name = path.filename();
  std::string stem = name.string();
  const std::string extension = take_extension(stem);
  return extension == "gz" || extension == "zst" || extension == "zstd" ? std::filesystem::path(stem) : name;
}

DataName data_name(const std::filesystem::path& path) {
  DataName result;
  result.stem = path.filename().string();
  std::string extension = take_extension(result.stem);
  if (extension == "gz" || extension == "zst" || extension == "zstd") extension = take_extension(result.stem);
  result.kind = kind_of(extension);
  result.notices = is_notice(result.stem, extension);
  bool of_many = false;
  result.shard = take_shard(result.stem, of_many);
  result.split = split_of(result.stem, of_many);
  return result;
}

std::string columns_refusal(const std::filesystem::path& path) {
  const std::string in = path.string();
  const std::string out = std::filesystem::path(path).replace_extension(".jsonl").string();
  const std::string export_it =
      path.extension() == ".arrow"
          ? "import datasets; datasets.Dataset.from_file('" + in + "').to_json('" + out + "')"
          : "import pandas; pandas.read_parquet('" + in + "').to_json('" + out +
                "', orient='records', lines=True)";
  return in +
         ": holds columns (Parquet or Arrow), which kvlab does not read; export it to JSONL, for example: "
         "python3 -c \"" +
         export_it + "\"";
}

}  // namespace kvlab
