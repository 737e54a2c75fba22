// Training a KVzap scorer of a tiny model: what is written, and that an interruption changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/method.h"
#include "engine/session.h"
#include "format/trained_on.h"
#include "support/temp_folder.h"
#include "support/thread_count.h"
#include "support/tiny_model.h"
#include "train/trainer.h"

namespace kvlab {
namespace {

using ::testing::HasSubstr;

const TrainerInfo& trainer() {
  for (const TrainerInfo* info : registry_trainers()) {
    if (info->name == "kvzap") return *info;
  }
  throw std::logic_error("kvzap is not registered");
}

// Asks to stop after so many steps of work.
class StopAfter : public Progress {
 public:
  explicit StopAfter(int steps) : left_(steps) {}
  void begin(const std::string&, int64_t) override {}
  void step(int64_t, const std::string&) override {
    if (--left_ == 0) request_stop();
  }
  void end() override {}

 private:
  int left_;
};

class KvzapTrainer : public ::testing::Test {
 protected:
  KvzapTrainer() {
    testing::TinyModelOptions options;
    options.hidden = 32;
    options.intermediate = 32;
    context_.model =
        load_model(open_model(testing::write_tiny_hf(options, model_.path()).string()), {DType::kF32});
    std::vector<int32_t> tokens(900);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(mix64(i) % 96);
    context_.texts = {{"folder/book.txt", tokens}};
    context_.values = Values(trainer().fields);
    set("passages", int64_t{10});
    set("passage_tokens", int64_t{40});
    set("samples", int64_t{25});
    set("epochs", int64_t{2});
    set("batch", int64_t{64});
  }
  ~KvzapTrainer() override { clear_stop(); }

  void set(const std::string& name, Value value) { context_.values.set(name, std::move(value)); }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  TrainReport train(const std::string& name) {
    context_.output = folder_.path() / name;
    context_.work = context_.output / ".work";
    std::filesystem::create_directories(context_.output);
    return trainer().run(context_);
  }
  std::string all_files(const std::string& name) const {
    std::string all;
    for (const char* file : {"config.json", "model.safetensors", "kvlab.json", "trained_on.json"}) {
      EXPECT_TRUE(std::filesystem::exists(folder_.path() / name / file)) << file;
      all += folder_.read(name + "/" + file);
    }
    return all;
  }
  nlohmann::json record(const std::string& name) const {
    return nlohmann::json::parse(folder_.read(name + "/kvlab.json"));
  }
  std::string refused() {
    try {
      train("refused");
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  kvlab::TempFolder folder_;
  testing::TempFolder model_;
  TrainContext context_;
};

TEST_F(KvzapTrainer, WritesAScorerThatKvzapReads) {
  for (const char* type : {"linear", "mlp"}) {
    set("type", std::string(type));
    EXPECT_TRUE(train(type).finished);
    const auto method = make_method(resolve_recipe("kvzap(keep=0.5,model=" + path(type) + ")", {}),
                                    shape_of(context_.model->config()));
    std::vector<float> hidden(32, 0.5f), scores(2);
    NewEntries entries;
    entries.rows = 1;
    entries.hidden = hidden.data();
    method->fixed()->score(entries, scores.data());
    for (const float score : scores) {
      EXPECT_LT(score, 0) << type;
      EXPECT_GT(score, -20) << type;
    }
    EXPECT_FALSE(std::filesystem::exists(path(type) + "/.work"));
  }
}

TEST_F(KvzapTrainer, RecordSaysWhatWasDone) {
  context_.provenance = {{"model", "tiny"}};
  const TrainReport report = train("a");
  const auto json = record("a");
  EXPECT_EQ(json.at("model"), "tiny");
  EXPECT_EQ(json.at("prompt"), "bare");
  EXPECT_EQ(json.at("passages"), 10);
  EXPECT_EQ(json.at("held_out_passages"), 4);
  EXPECT_EQ(json.at("floor"), -20.0);
  EXPECT_EQ(json.at("fit").at("alpha"), 1.0);
  double sum = 0;
  for (const auto& layer : json.at("squared_correlation").at("layers")) {
    ASSERT_EQ(layer.size(), 2u);
    for (const double value : layer) sum += value;
  }
  EXPECT_NEAR(json.at("squared_correlation").at("mean"), sum / 4, 1e-12);
  EXPECT_LE(json.at("explained").at("mean"), json.at("squared_correlation").at("mean"));
  EXPECT_EQ(json.at("thresholds").size(), 20u);
  EXPECT_THAT(report.lines, ::testing::Contains(HasSubstr("10 passages fitted, 4 held out")));
  const auto trained_on = read_trained_on(path("a"));
  ASSERT_TRUE(trained_on);
  EXPECT_EQ(trained_on->texts().at(0).name, "book.txt");
  EXPECT_GT(trained_on->overlap(context_.texts[0].tokens), 0);
}

TEST_F(KvzapTrainer, AnInterruptionChangesNothing) {
  for (const char* type : {"linear", "mlp"}) {
    set("type", std::string(type));
    const std::string whole = std::string(type) + "_whole", cut = std::string(type) + "_cut";
    ASSERT_TRUE(train(whole).finished);
    // In the first passages, in the last ones, and while layers are fitted.
    for (const int steps : {2, 5, 8}) {
      StopAfter progress(steps);
      context_.progress = &progress;
      EXPECT_FALSE(train(cut).finished) << type << " " << steps;
      clear_stop();
    }
    context_.progress = &silent_progress();
    EXPECT_TRUE(train(cut).finished);
    EXPECT_EQ(all_files(cut), all_files(whole)) << type;
  }
}

TEST_F(KvzapTrainer, ResultDependsOnTheSeedAndNotOnThreads) {
  {
    const testing::ThreadCount threads(1);
    train("one");
  }
  {
    const testing::ThreadCount threads(3);
    train("three");
  }
  EXPECT_EQ(all_files("one"), all_files("three"));
  context_.seed = 1;
  train("seed");
  EXPECT_NE(all_files("one"), all_files("seed"));
}

TEST_F(KvzapTrainer, FloorIsStatedAndCounted) {
  set("floor", -1.0);
  train("high");
  EXPECT_GT(record("high").at("clamped"), 0.5);
  EXPECT_EQ(record("high").at("floor"), -1.0);
}

TEST_F(KvzapTrainer, JudgesByATextOfItsOwn) {
  context_.held_out = {{"other.txt", {context_.texts[0].tokens.rbegin(), context_.texts[0].tokens.rend()}}};
  train("other");
  EXPECT_EQ(record("other").at("passages"), 10);
  EXPECT_EQ(record("other").at("held_out_passages"), 20);
}

TEST_F(KvzapTrainer, AnotherFitUsesTheSamplesThatWereKept) {
  context_.keep_work = true;
  train("both");
  set("type", std::string("mlp"));
  int collected = 0;
  struct Watch : Progress {
    int* collected;
    void begin(const std::string& what, int64_t) override { *collected += what.find("collecting") == 0; }
    void step(int64_t, const std::string&) override {}
    void end() override {}
  } watch;
  watch.collected = &collected;
  context_.progress = &watch;
  train("both");
  EXPECT_EQ(collected, 0);
  EXPECT_EQ(record("both").at("fit").at("type"), "mlp");
}

TEST_F(KvzapTrainer, RefusesWhatCannotBe) {
  set("samples", int64_t{50});
  EXPECT_THAT(refused(), HasSubstr("--samples 50 is out of range: the shortest passage has"));
  set("samples", int64_t{25});
  set("passage_tokens", int64_t{300});
  EXPECT_THAT(refused(), HasSubstr("--data_path: 900 tokens give"));
  set("held_out", int64_t{1});
  EXPECT_THAT(refused(), HasSubstr("more than the model's context of 512"));
  set("passage_tokens", int64_t{40});
  set("prompt", std::string("chat"));
  EXPECT_THAT(refused(), HasSubstr("--prompt"));
}

TEST_F(KvzapTrainer, RefusesAnotherRunsWork) {
  StopAfter progress(2);
  context_.progress = &progress;
  EXPECT_FALSE(train("a").finished);
  clear_stop();
  context_.seed = 9;
  EXPECT_THROW(train("a"), UserError);
  context_.restart = true;
  EXPECT_TRUE(train("a").finished);
}

}  // namespace
}  // namespace kvlab
