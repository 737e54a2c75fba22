// Folders laid out as data sets are published: which files a split and a configuration name.
#include "evals/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "evals/data_names.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class DataFolder : public testing::Test {
 protected:
  void add(const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      std::filesystem::create_directories((folder_.path() / name).parent_path());
      folder_.write(name, "text");
    }
  }
  // Relative to the folder; the message where it is refused.
  std::vector<std::string> files(const std::string& split = "", const std::string& config = "") const {
    std::vector<std::string> names;
    try {
      for (const auto& file : find_data_files(folder_.path(), split, config).files)
        names.push_back(std::filesystem::relative(file, folder_.path()).string());
    } catch (const UserError& error) {
      return {error.what()};
    }
    return names;
  }
  TempFolder folder_;
};

TEST(DataName, TellsKindSplitAndShard) {
  struct Case {
    const char* file;
    DataKind kind;
    const char* split;
    int64_t shard;
  };
  for (const Case& c :
       {Case{"c4-validation.00003-of-00008.json.gz", DataKind::kRows, "validation", 3},
        Case{"test-00000-of-00001.jsonl", DataKind::kRows, "test", 0},
        Case{"validation_matched-00001-of-00002.jsonl.zst", DataKind::kRows, "validation_matched", 1},
        Case{"Test.TXT", DataKind::kText, "test", -1},
        Case{"wiki.valid.raw", DataKind::kText, "validation", -1},
        Case{"wiki.test.tokens", DataKind::kText, "test", -1},
        Case{"train-12.ndjson", DataKind::kRows, "train", 12}, Case{"dev.jsonl", DataKind::kRows, "dev", -1},
        Case{"book.txt", DataKind::kText, "", -1}, Case{"contest.txt", DataKind::kText, "", -1},
        Case{"test-drive.txt", DataKind::kText, "", -1}, Case{"volume-2.txt", DataKind::kText, "", 2},
        Case{"test-00000-of-00001.parquet", DataKind::kColumns, "test", 0},
        Case{"a.tar.gz", DataKind::kArchive, "", -1}, Case{"cover.png", DataKind::kOther, "", -1},
        Case{"99999999999999999999.txt", DataKind::kText, "", -1},
        Case{"x-99999999999999999999-of-00001.txt", DataKind::kText, "", -1}}) {
    const DataName name = data_name(std::filesystem::path("folder") / c.file);
    EXPECT_EQ(name.kind, c.kind) << c.file;
    EXPECT_EQ(name.split, c.split) << c.file;
    EXPECT_EQ(name.shard, c.shard) << c.file;
  }
  EXPECT_EQ(unpacked_name("folder/volume-2.txt.GZ"), "volume-2.txt");
  EXPECT_EQ(unpacked_name("folder/volume-2.txt"), "volume-2.txt");
  EXPECT_EQ(canonical_split("VAL"), "validation");
  EXPECT_EQ(canonical_split("Unsupervised"), "Unsupervised");
}

TEST_F(DataFolder, ShardsComeInTheOrderOfTheirNumbers) {
  add({"en/c4-validation.2.json.gz", "en/c4-validation.10.json.gz", "en/c4-validation.1.json.gz",
       "en/c4-train.00000-of-01024.json.gz", "README.md"});
  EXPECT_THAT(
      files("validation", "en"),
      ElementsAre("en/c4-validation.1.json.gz", "en/c4-validation.2.json.gz", "en/c4-validation.10.json.gz"));
  EXPECT_THAT(files("valid"), ElementsAre("en/c4-validation.1.json.gz", testing::_, testing::_))
      << "its only configuration";
}

TEST_F(DataFolder, ConfigurationsAreFolders) {
  add({"wikitext-2-raw-v1/test-00000-of-00001.jsonl", "wikitext-2-raw-v1/train-00000-of-00001.jsonl",
       "data/wikitext-103-raw-v1/test.jsonl.zst", "docs/figure.png"});
  EXPECT_THAT(files("test", "wikitext-2-raw-v1"), ElementsAre("wikitext-2-raw-v1/test-00000-of-00001.jsonl"));
  EXPECT_THAT(files("test", "wikitext-103-raw-v1"), ElementsAre("data/wikitext-103-raw-v1/test.jsonl.zst"));
  EXPECT_THAT(files("", "wikitext-103-raw-v1"), ElementsAre("data/wikitext-103-raw-v1/test.jsonl.zst"));
  EXPECT_THAT(files("test").at(0),
              HasSubstr("several data sets; choose one with --dataset_config (wikitext-103-raw-v1, "
                        "wikitext-2-raw-v1)"));
  EXPECT_THAT(files("test", "wikitext-1").at(0),
              AllOf(HasSubstr("--dataset_config wikitext-1: "),
                    HasSubstr("(folders of data there: wikitext-103-raw-v1, wikitext-2-raw-v1)")));
  EXPECT_THAT(files("valid", "wikitext-2-raw-v1").at(0),
              AllOf(HasSubstr("--split valid: "), HasSubstr("(splits there: test, train)")));
}

TEST_F(DataFolder, SplitsAreChosenAndListed) {
  add({"wiki.test.raw", "wiki.valid.raw", "wiki.train.raw", "SOURCE.txt"});
  EXPECT_THAT(files("test"), ElementsAre("wiki.test.raw"));
  EXPECT_THAT(files("val"), ElementsAre("wiki.valid.raw"));
  EXPECT_THAT(files().at(0), HasSubstr("several splits; choose one with --split (test, train, validation)"));
}

TEST_F(DataFolder, TheFolderDataAndSplitsOfOtherNames) {
  add({"README.md", "data/unsupervised.jsonl", "data/test-1.jsonl", "data/test-0.jsonl"});
  EXPECT_THAT(files("test"), ElementsAre("data/test-0.jsonl", "data/test-1.jsonl"));
  EXPECT_THAT(files("unsupervised"), ElementsAre("data/unsupervised.jsonl"));
}

TEST_F(DataFolder, ASplitIsNotReadTwice) {
  add({"test.jsonl", "test.jsonl.gz"});
  EXPECT_THAT(files("test").at(0), AllOf(HasSubstr("test.jsonl.gz"), HasSubstr("--data_path")));
  add({"wiki.train.raw", "wiki.train.tokens", "train-00000-of-00001.jsonl"});
  EXPECT_THAT(files("train").at(0), HasSubstr("are of one split"));
  add({"dev.jsonl", "dev-00000-of-00001.jsonl"});
  EXPECT_THAT(files("dev").at(0), HasSubstr("are of one split"));
}

TEST_F(DataFolder, ParquetIsRefusedWhereThereIsNothingElse) {
  add({"cfg/test-00000-of-00001.parquet"});
  EXPECT_THAT(files("test").at(0),
              AllOf(HasSubstr("test-00000-of-00001.parquet: holds columns"), HasSubstr("read_parquet")));
  EXPECT_THAT(files().at(0), HasSubstr("holds columns"));
  add({"cfg/test.jsonl"});
  EXPECT_THAT(files("test"), ElementsAre("cfg/test.jsonl"));
  EXPECT_THAT(files(), ElementsAre("cfg/test.jsonl"));
}

TEST_F(DataFolder, BooksAndRowsWithoutSplits) {
  add({"part-10.jsonl", "part-9.jsonl", "dataset_info.json"});
  EXPECT_THAT(files(), ElementsAre("part-9.jsonl", "part-10.jsonl"));
  add({"volume-10.txt", "volume-9.txt", "final-test.txt", ".hidden.txt"});
  EXPECT_THAT(files(), ElementsAre("final-test.txt", "volume-10.txt", "volume-9.txt")) << "books by name";
}

TEST_F(DataFolder, FilesAndEmptyFolders) {
  EXPECT_THAT(files().at(0), HasSubstr("holds no text files"));
  const auto file = folder_.write("book.txt", "text");
  EXPECT_THAT(find_data_files(file, "", "").files, ElementsAre(file));
  EXPECT_THROW(find_data_files(file, "test", ""), UserError);
  EXPECT_THROW(find_data_files(file, "", "en"), UserError);
}

}  // namespace
}  // namespace kvlab
