// `kvlab generate`: what goes to standard output and standard error, JSON against `kvlab score`, mistakes,
// Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/utf8_check.h"
#include "cli/program.h"
#include "tokenizer/tokenizer_files.h"

namespace kvlab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::Program;
using testing::ProgramResult;
using testing::run_kvlab;

// A random model of 257 tokens: the 256 bytes and "<|end|>".
class Generate : public ::testing::Test {
 protected:
  Generate() {
    testing::TinyModelOptions options;
    options.vocab = 257;
    testing::write_tiny_hf(options, folder_.path());
    folder_.write("tokenizer.json", testing::tiny_tokenizer({}).dump());
    write_config({});
  }
  void write_config(json config) const {
    config["eos_token"] = "<|end|>";
    folder_.write("tokenizer_config.json", config.dump());
  }
  std::vector<std::string> arguments(const std::vector<std::string>& extra) const {
    std::vector<std::string> all{"generate",  "--model", folder_.path().string(), "--dtype", "f32",
                                 "--threads", "1"};
    all.insert(all.end(), extra.begin(), extra.end());
    return all;
  }
  ProgramResult run(const std::vector<std::string>& extra, const std::string& input = "/dev/null") const {
    return run_kvlab(arguments(extra), input);
  }
  json generated(std::vector<std::string> extra) const {
    extra.push_back("--json");
    const ProgramResult result = run(extra);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return json::parse(result.out);
  }
  std::string file(const std::string& name, const std::string& text) const {
    return folder_.write(name, text).string();
  }
  const TempFolder folder_;
};

TEST_F(Generate, TextToStandardOutputFiguresToStandardError) {
  const ProgramResult result = run({"--prompt", "Once", "--max_new_tokens", "12", "--recipe", "h2o(size=8)"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json object = generated({"--prompt", "Once", "--max_new_tokens", "12", "--recipe", "h2o(size=8)"});
  EXPECT_EQ(result.out, object.at("text").get<std::string>());
  EXPECT_EQ(first_invalid_utf8(result.out), std::string::npos);
  EXPECT_THAT(result.err, HasSubstr("prompt: 4 tokens in "));
  EXPECT_THAT(result.err, HasSubstr("new:    12 tokens in "));
  EXPECT_THAT(result.err, HasSubstr("ended by --max_new_tokens"));
  EXPECT_THAT(result.err, HasSubstr("live entries per head 8 min, 8.0 mean, 8 max, of 16"));
  EXPECT_EQ(run({"--prompt", "Once", "--max-new-tokens", "12", "--recipe", "h2o(size=8)", "--quiet"}).err,
            "");
}

TEST_F(Generate, JsonHoldsTheFigures) {
  const json object = generated({"--prompt", "Once upon", "--max_new_tokens", "20", "--recipe",
                                 "knorm(keep=0.5)", "--temperature", "1", "--ignore_eos"});
  EXPECT_EQ(object.at("prompt_tokens"), 9);
  EXPECT_EQ(object.at("prompt_ids").get<std::vector<int>>(),
            (std::vector<int>{'O', 'n', 'c', 'e', ' ', 'u', 'p', 'o', 'n'}));
  EXPECT_EQ(object.at("new_tokens"), 20);
  EXPECT_EQ(object.at("ids").size(), 20u);
  EXPECT_EQ(object.at("finish_reason"), "length");
  EXPECT_EQ(object.at("kv_bytes_baseline"),
            2 * 2 * 2 * 16 * 29 * 4);  // K and V, layers, heads, size, tokens, bytes
  EXPECT_NEAR(object.at("density").get<double>(), 14 / 29.0, 1e-9);
  EXPECT_LE(object.at("kv_bytes"), object.at("kv_bytes_peak"));
  EXPECT_GT(object.at("decode_seconds"), 0);
  EXPECT_GT(object.at("prefill_seconds"), 0);
  EXPECT_FALSE(object.contains("live_at_end"));
}

// The same tokens given to `score`: each new one is the likeliest in its place, and the same entries are
// live.
TEST_F(Generate, EqualsScoringTheSameTokens) {
  struct Case {
    const char* recipe;
    bool at_context;
  };
  for (const auto& [recipe, at_context] :
       {Case{"h2o(size=16)", false}, Case{"streaming_llm(sinks=2,window=9)", false},
        Case{"snapkv(keep=0.5,at=context)", true}, Case{"random(keep=0.3)", false}}) {
    SCOPED_TRACE(recipe);
    const json made = generated({"--prompt", "There was a king who had twelve daughters.", "--recipe", recipe,
                                 "--max_new_tokens", "40", "--ignore_eos", "--live"});
    json tokens = made.at("prompt_ids");
    for (const json& id : made.at("ids")) tokens.push_back(id);
    std::vector<std::string> score{
        "score",   "--model", folder_.path().string(),         "--dtype",  "f32",  "--threads",
        "1",       "--ids",   file("ids.json", tokens.dump()), "--recipe", recipe, "--live",
        "--argmax"};
    const auto prompt_tokens = made.at("prompt_tokens").get<size_t>();
    if (at_context)
      score.insert(score.end(), {"--protocol", "prefix", "--context", std::to_string(prompt_tokens)});
    const ProgramResult result = run_kvlab(score);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json scored = json::parse(result.out);
    auto argmax = scored.at("argmax").get<std::vector<int>>();
    argmax.erase(argmax.begin(), argmax.end() - 40);
    EXPECT_EQ(made.at("ids").get<std::vector<int>>(), argmax);
    for (const char* key : {"live_at_end", "kv_bytes", "density"})
      EXPECT_EQ(made.at(key), scored.at(key)) << key;
  }
}

TEST_F(Generate, PromptsFromFilesAndStandardInput) {
  const std::string path = file("prompt.txt", "Once\n");
  const json expected = generated({"--prompt", "Once\n", "--max_new_tokens", "5"}).at("ids");
  EXPECT_EQ(generated({"--prompt_file", path, "--max_new_tokens", "5"}).at("ids"), expected);
  const ProgramResult piped = run({"--prompt_file", "-", "--max_new_tokens", "5", "--json"}, path);
  ASSERT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_EQ(json::parse(piped.out).at("ids"), expected);
}

TEST_F(Generate, SeedsDecideTheDraws) {
  const auto ids = [&](const std::string& seed) {
    return generated({"--prompt", "Once", "--max_new_tokens", "30", "--temperature", "1.5", "--top_p", "0.9",
                      "--top_k", "200", "--seed", seed})
        .at("ids");
  };
  EXPECT_EQ(ids("1"), ids("1"));
  EXPECT_NE(ids("1"), ids("2"));
}

TEST_F(Generate, EosAndStopStringsEnd) {
  const std::vector<std::string> drawn{"--prompt", "Once", "--temperature",    "3",
                                       "--seed",   "5",    "--max_new_tokens", "400"};
  const json all = generated([&] {
    auto words = drawn;
    words.push_back("--ignore_eos");
    return words;
  }());
  const auto ids = all.at("ids").get<std::vector<int>>();
  ASSERT_EQ(ids.size(), 400u);
  const auto eos = std::find(ids.begin(), ids.end(), 256);
  ASSERT_NE(eos, ids.end()) << "another seed is needed";
  const json ended = generated(drawn);
  EXPECT_EQ(ended.at("finish_reason"), "eos");
  EXPECT_EQ(ended.at("ids").get<std::vector<int>>(), std::vector<int>(ids.begin(), eos + 1));

  auto stopped = drawn;
  const int letter = *std::find_if(ids.begin(), ids.end(), [](int id) { return id > ' ' && id < 127; });
  stopped.insert(stopped.end(),
                 {"--ignore_eos", "--stop", "never this", std::string(1, static_cast<char>(letter))});
  const json cut = generated(stopped);
  EXPECT_EQ(cut.at("finish_reason"), "stop");
  EXPECT_EQ(cut.at("ids").back(), letter);
  EXPECT_THAT(cut.at("text").get<std::string>(),
              ::testing::Not(HasSubstr(std::string(1, static_cast<char>(letter)))));
}

TEST_F(Generate, ChatPutsThePromptIntoTheTemplate) {
  write_config(
      {{"chat_template",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
        "'<|im_end|>\\n'}}{% endfor %}{{'<|im_start|>assistant\\n'}}"}});
  const auto prompt = [&](const std::vector<std::string>& extra) {
    std::vector<std::string> words{"--prompt", "<|end|>", "--max_new_tokens", "1", "--chat"};
    words.insert(words.end(), extra.begin(), extra.end());
    return generated(words).at("prompt_ids").get<std::vector<int>>();
  };
  const auto bytes = [](const std::string& text) { return std::vector<int>(text.begin(), text.end()); };
  const std::string user = "<|im_start|>user\n<|end|><|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(prompt({}), bytes(user));
  EXPECT_EQ(prompt({"--system", "Hi"}), bytes("<|im_start|>system\nHi<|im_end|>\n" + user));
  // Without --chat the prompt's special tokens are what they say.
  EXPECT_EQ(generated({"--prompt", "<|end|>", "--max_new_tokens", "1"}).at("prompt_ids"), json({256}));
}

TEST_F(Generate, ConversationsComeFromAFile) {
  const std::string talk = file("talk.json", R"([{"role": "system", "content": "S"},
      {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}])");
  const std::string plain =
      file("plain.jinja",
           "{% for message in messages %}{{'<|im_start|>' + message.role + '\\n' + "
           "message.content + '<|im_end|>\\n'}}{% endfor %}{{'<|im_start|>assistant\\n'}}");
  const std::string prompt =
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
      "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n";
  const std::vector<std::string> asked{"--messages", talk, "--chat_template", plain};
  const auto with = [&](std::vector<std::string> extra) {
    extra.insert(extra.end(), asked.begin(), asked.end());
    return extra;
  };
  EXPECT_EQ(run(with({"--show_prompt"})).out, prompt);
  const json shown = generated(with({"--show_prompt"}));
  EXPECT_EQ(shown.at("prompt"), prompt);
  const json made = generated(with({"--max_new_tokens", "1"}));
  EXPECT_EQ(made.at("prompt_ids"), shown.at("prompt_ids"));
  EXPECT_EQ(made.at("prompt_tokens"), prompt.size());  // a token a byte
  EXPECT_EQ(run({"--prompt", "as it is<|end|>", "--show_prompt"}).out, "as it is<|end|>");
}

TEST_F(Generate, ChatMistakesAreNamed) {
  const std::string talk = file("talk.json", R"([{"role": "user", "content": 7}])");
  const std::string missing = (folder_.path() / "missing.json").string();
  for (const auto& [extra, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--messages", talk}, talk + ": message 0: 'content' is 7"},
           {{"--messages", missing}, "--messages " + missing + ": cannot be read"},
           {{"--messages", talk, "--prompt", "a"}, "or --messages FILE"},
           {{"--messages", talk, "--chat"}, "leave --chat out"},
           {{"--messages", talk, "--system", "a"}, "put a system message first in"},
           {{"--messages", talk, "--bos", "no"}, "--bos does not go with --chat or --messages"},
           {{"--prompt", "a", "--thinking", "no"}, "--thinking needs --chat or --messages"},
           {{"--prompt", "a", "--date", "now"}, "--date needs --chat or --messages"},
           {{"--prompt", "a", "--chat_template", talk}, "--chat_template needs --chat or --messages"},
           {{"--prompt", "a", "--chat", "--chat_template", missing}, "--chat_template " + missing},
           {{"--prompt", "a", "--chat", "--chat_template", talk}, "no known family"},
           {{"--prompt", "a", "--chat", "--thinking", "maybe"}, "--thinking maybe"},
       }) {
    const ProgramResult result = run(extra);
    EXPECT_EQ(result.exit_code, 2) << text;
    EXPECT_THAT(result.err, HasSubstr(text));
  }
}

TEST_F(Generate, TheContextIsTheLimit) {
  const std::string prompt(500, 'a');
  EXPECT_EQ(generated({"--prompt", prompt, "--temperature", "1", "--ignore_eos"}).at("new_tokens"), 12);
  const ProgramResult result = run({"--prompt", prompt, "--max_new_tokens", "13"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("give --max_new_tokens 12 or --beyond_context"));
  EXPECT_EQ(generated({"--prompt", prompt, "--max_new_tokens", "13", "--ignore_eos", "--beyond_context"})
                .at("new_tokens"),
            13);
}

TEST_F(Generate, MistakesAreNamed) {
  struct Case {
    std::vector<std::string> extra;
    const char* text;
  };
  const std::string missing = (folder_.path() / "missing.txt").string();
  for (const Case& c : std::vector<Case>{
           {{}, "give either --prompt TEXT or --prompt_file FILE"},
           {{"--prompt", "a", "--prompt_file", "b"}, "give either --prompt TEXT or --prompt_file FILE"},
           {{"--prompt", ""}, "the prompt is empty"},
           {{"--prompt_file", "-"}, "the prompt is empty"},
           {{"--prompt_file", missing}, "missing.txt: cannot be read"},
           {{"--prompt_file", folder_.path().string()}, "cannot be read"},
           {{"--prompt", "a\xFF"}, "not valid UTF-8 at byte 1"},
           {{"--prompt", "a", "--max_new_tokens", "-1"}, "--max_new_tokens -1 is out of range"},
           {{"--prompt", "a", "--temperature", "-0.5"}, "temperature -0.5"},
           {{"--prompt", "a", "--top_p", "0"}, "top_p 0"},
           {{"--prompt", "a", "--top_k", "-2"}, "top_k -2"},
           {{"--prompt", "a", "--seed", "-1"}, "--seed -1"},
           {{"--prompt", "a", "--stop", ""}, "stop string is empty"},
           {{"--prompt", "a", "--system", "b"}, "--system needs --chat"},
           {{"--prompt", "a", "--chat"}, "no chat template"},
           {{"--prompt", "a", "--chat", "--bos", "no"}, "--bos does not go with --chat"},
           {{"--prompt", "a", "--bos", "yes"}, "the tokenizer has no BOS token"},
           {{"--prompt", "a", "--live"}, "--live needs --json"},
           {{"--prompt", "a", "--recipe", "h2oo"}, "h2o"},
           {{"--prompt", "a", "--max_tokens", "5"}, "--max_tokens"},
       }) {
    const ProgramResult result = run(c.extra);
    EXPECT_EQ(result.exit_code, 2) << c.text;
    EXPECT_EQ(result.out, "") << c.text;
    EXPECT_THAT(result.err, HasSubstr(c.text));
  }
}

TEST_F(Generate, AModelWithoutATokenizerIsRefused) {
  const testing::TinyWorkplace place;
  const ProgramResult result = run_kvlab({"generate", "--model", place.model(), "--prompt", "a"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("tokenizer"));
}

TEST_F(Generate, CtrlCKeepsTheTextAndTheFigures) {
  // Far more than can be written before the signal arrives.
  Program program(arguments({"--prompt", "Once", "--max_new_tokens", "10000000", "--recipe", "h2o(size=16)",
                             "--beyond_context", "--ignore_eos"}));
  constexpr size_t kBytes = 200;  // of 50 tokens at least, more than the recipe's 16
  for (int tries = 0; tries < 12000 && program.running() && program.output().size() < kBytes; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  program.interrupt();
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_GE(result.out.size(), kBytes);
  EXPECT_EQ(first_invalid_utf8(result.out), std::string::npos);
  EXPECT_THAT(result.err, HasSubstr("tokens/s, interrupted"));
  EXPECT_THAT(result.err, HasSubstr("live entries per head 16 min"));
}

}  // namespace
}  // namespace kvlab
