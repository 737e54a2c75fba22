// Which files the data of a run lie in: the file that was named, or those of a split in a folder laid out as
// data sets are published.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kvlab {

struct DataFiles {
  std::vector<std::filesystem::path> files;  // of one kind, text or rows, in the order of reading
  std::string id;                            // of all of them as one document
};

// `split` and `config` may be empty. Folders may be
//   FOLDER/book.txt ...                                 books, by name
//   FOLDER/wiki.test.raw, FOLDER/test.jsonl ...         a file a split
//   FOLDER/[data/]test-00000-of-00002.jsonl.gz ...      shards of a split, by number
//   FOLDER/CONFIG/..., FOLDER/data/CONFIG/...           one of these for each configuration
// Throws UserError when there are several splits or configurations and none is chosen, when the one chosen is
// missing (both with what is there), and when the files are not read by kvlab.
DataFiles find_data_files(const std::filesystem::path& path, const std::string& split,
                          const std::string& config);

}  // namespace kvlab
