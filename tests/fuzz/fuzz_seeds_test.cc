// Every file of fuzz/seeds through its target: inputs that once failed must not fail again. Works without a
// fuzzer.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "fuzz/support.h"
#include "fuzz/targets.h"
#include "support/damage.h"

namespace kvlab {
namespace {

namespace fs = std::filesystem;

using Target = void (*)(fuzz::Input);

const std::map<std::string, Target>& targets() {
  static const std::map<std::string, Target> all = {
      {"documents", fuzz::fuzz_documents},
      {"gguf", fuzz::fuzz_gguf},
      {"gguf_tokenizer", fuzz::fuzz_gguf_tokenizer},
      {"hf_config", fuzz::fuzz_hf_config},
      {"hf_tokenizer", fuzz::fuzz_hf_tokenizer},
      {"kvzap_config", fuzz::fuzz_kvzap_config},
      {"recipe", fuzz::fuzz_recipe},
      {"safetensors", fuzz::fuzz_safetensors},
      {"safetensors_index", fuzz::fuzz_safetensors_index},
      {"sentencepiece", fuzz::fuzz_sentencepiece},
      {"token_ids", fuzz::fuzz_token_ids},
      {"trained_on", fuzz::fuzz_trained_on},
  };
  return all;
}

const fs::path kSeeds = fs::path(KVLAB_SOURCE_DIR) / "fuzz" / "seeds";

std::vector<fs::path> listed(const fs::path& folder) {
  std::vector<fs::path> paths;
  if (fs::exists(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

class FuzzSeeds : public ::testing::TestWithParam<std::string> {};

TEST_P(FuzzSeeds, AreAnswered) {
  const Target run = targets().at(GetParam());
  for (const fs::path& path : listed(kSeeds / GetParam())) {
    const std::string bytes = testing::read_bytes(path.string());
    EXPECT_NO_THROW(run({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()})) << path;
  }
  EXPECT_NO_THROW(run({})) << "the empty input";
}

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const auto& [name, run] : targets()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzSeeds, ::testing::ValuesIn(target_names()),
                         [](const auto& param) { return param.param; });

TEST(FuzzFolders, EachHasATarget) {
  for (const fs::path& folder : listed(kSeeds)) {
    EXPECT_EQ(targets().count(folder.filename().string()), 1u) << folder;
  }
}

// The targets must be able to fail.
TEST(FuzzTargets, TellAnswersFromFindings) {
  EXPECT_TRUE(fuzz::answers("file", [] {}));
  EXPECT_FALSE(fuzz::answers("file", [] { throw UserError("file: wrong"); }));
  EXPECT_THROW(fuzz::answers("file", [] { throw UserError("wrong"); }), std::logic_error);
  EXPECT_THROW(fuzz::answers("file", [] { throw std::bad_alloc(); }), std::bad_alloc);
}

}  // namespace
}  // namespace kvlab
