// Every architecture and rotary scaling against transformers, on tiny random models: from a Hugging Face
// folder in both spellings of its settings, from a GGUF file, whole and cut into extends.
#include <cstdlib>

#include "golden/golden_support.h"
#include "golden/logits_golden.h"
#include "support/golden_gguf.h"
#include "support/golden_model.h"
#include "support/tiny_model.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

// What the refusal of a model says; "": it is not refused. Beyond the original context longrope turns all
// keys anew; soft-capped scores are another softmax.
std::string refusal(const std::string& name) {
  if (name.starts_with("phi3-longrope")) return "'longrope' is not supported";
  return name == "gemma2" ? "'gemma2' is not supported: it soft-caps attention scores" : "";
}

class ArchitectureGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void check(const GoldenModel& golden, const std::string& path) {
    if (const std::string why = refusal(golden.name); !why.empty()) {
      const std::string error = user_error([&] { open_model(path); });
      EXPECT_NE(error.find(why), std::string::npos) << error;
      return;
    }
    const OneThread one_thread;
    const auto model = open_and_load(path, DType::kF32);
    {
      SCOPED_TRACE("whole");
      expect_logits_golden(model, golden.values, 0);
    }
    if (golden.whole_only) return;
    for (const int piece : {1, 7, 20}) {
      SCOPED_TRACE("extends of " + std::to_string(piece));
      expect_logits_golden(model, golden.values, piece);
    }
  }

  GoldenModel golden_ = load_golden(GetParam());
  TempFolder temp_;
};

TEST_P(ArchitectureGolden, HuggingFaceFolder) {
  const std::string folder = write_golden_hf(golden_, temp_.path() / "model");
  check(golden_, folder);
}

TEST_P(ArchitectureGolden, SettingsAsTransformers4SpellsThem) {
  const std::string folder = write_golden_hf(golden_, temp_.path() / "model", ConfigSpelling::kTransformers4);
  check(golden_, folder);
}

TEST_P(ArchitectureGolden, GgufFile) {
  if (!golden_.gguf) GTEST_SKIP() << "GGUF cannot say what this model needs";
  const std::string file = write_golden_gguf(golden_, temp_.path() / "model.gguf");
  check(golden_, file);
}

// Files of tools/goldens/convert_gguf.py; tools/goldens/check_gguf.sh makes them and runs this.
TEST_P(ArchitectureGolden, ConvertedGgufFile) {
  const char* folder = std::getenv("KVLAB_GOLDEN_GGUF_DIR");
  if (folder == nullptr) GTEST_SKIP() << "needs KVLAB_GOLDEN_GGUF_DIR (tools/goldens/check_gguf.sh sets it)";
  if (!golden_.gguf) GTEST_SKIP() << "GGUF cannot say what this model needs";
  const std::string file = std::string(folder) + "/" + GetParam() + ".gguf";
  check(golden_, file);
}

// GoogleTest takes letters and digits in a name only.
std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) {
    if (c == '-' || c == '.') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, ArchitectureGolden, ::testing::ValuesIn(golden_names()), test_name);

}  // namespace
}  // namespace kvlab
