// kvlab tokenize: texts to token ids and back, with any model's tokenizer.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "format/json_reader.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

namespace {

using nlohmann::json;

struct Flags {
  std::string model, text, file, lines, special, bos, eos;
  bool decode = false, count = false;
};

// A token's bytes in quotes, with escapes for what is not printable.
std::string in_quotes(const std::string& bytes) {
  return json(bytes).dump(-1, ' ', false, json::error_handler_t::replace);
}

class Worker {
 public:
  explicit Worker(const Flags& f)
      : tokenizer_(open_tokenizer(f.model.empty() ? default_model_path().string() : f.model)),
        special_(parse_yes_no("--special", f.special).value_or(true)),
        bos_(parse_yes_no("--bos", f.bos).value_or(tokenizer_->add_bos())),
        eos_(parse_yes_no("--eos", f.eos).value_or(tokenizer_->add_eos())) {}

  std::vector<int32_t> encode(const std::string& text) const {
    std::vector<int32_t> ids = tokenizer_->encode(text, special_);
    if (bos_ && tokenizer_->bos() >= 0) ids.insert(ids.begin(), tokenizer_->bos());
    if (eos_ && tokenizer_->eos() >= 0) ids.push_back(tokenizer_->eos());
    return ids;
  }
  std::string decode(const std::vector<int32_t>& ids) const { return tokenizer_->decode(ids, special_); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool special_, bos_, eos_;
};

std::string read_all(std::istream& in, const std::string& name) {
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) throw UserError(name + ": cannot be read");
  return std::move(text).str();
}

std::string read_text(const Flags& f) {
  if (f.file.empty()) return f.text;
  if (f.file == "-") return read_all(std::cin, "standard input");
  std::ifstream in(f.file, std::ios::binary);
  if (!in) throw UserError(f.file + ": cannot be read");
  return read_all(in, f.file);
}

std::vector<int32_t> ids_of(const json& value, const std::string& where) {
  const json& list = value.is_object() && value.contains("ids") ? value["ids"] : value;
  const auto is_id = [](const json& id) {
    return id.is_number_integer() && id >= 0 && id <= std::numeric_limits<int32_t>::max();
  };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_id)) {
    throw UserError(where + ": expected a list of token ids, as [1,2,3] or {\"ids\": [1,2,3]}");
  }
  return list.get<std::vector<int32_t>>();
}

std::string text_of(const json& value, const std::string& where) {
  const json& text = value.is_object() && value.contains("text") ? value["text"] : value;
  if (!text.is_string()) {
    throw UserError(where + ": expected a text, as \"one\" or {\"text\": \"one\"}");
  }
  return text.get<std::string>();
}

// One JSON value a line in, one out, in the same order.
void run_lines(const Flags& f, const Worker& worker) {
  std::ifstream opened;
  if (f.lines != "-") opened.open(f.lines, std::ios::binary);
  std::istream& in = f.lines == "-" ? std::cin : opened;
  if (!in) throw UserError(f.lines + ": cannot be read");
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    const std::string where = fmt::format("{}:{}", f.lines == "-" ? "standard input" : f.lines, number);
    const json value = parse_json(line, where);
    if (f.decode) {
      fmt::print("{}\n", in_quotes(worker.decode(ids_of(value, where))));
    } else {
      const std::vector<int32_t> ids = worker.encode(text_of(value, where));
      fmt::print("{}\n", f.count ? std::to_string(ids.size()) : json(ids).dump());
    }
  }
}

// What each token adds behind the one before it: a decoder may drop the space of a text's first token.
void print_pieces(const Worker& worker, const std::vector<int32_t>& ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    std::string piece = worker.decode({ids[i]});
    if (i > 0) {
      const std::string before = worker.decode({ids[i - 1]});
      const std::string both = worker.decode({ids[i - 1], ids[i]});
      if (both.starts_with(before)) piece = both.substr(before.size());
    }
    fmt::print("{:>8}  {}\n", ids[i], in_quotes(piece));
  }
  fmt::print("{} tokens\n", ids.size());
}

int run(const Flags& f) {
  if ((f.text.empty() ? 0 : 1) + (f.file.empty() ? 0 : 1) + (f.lines.empty() ? 0 : 1) != 1) {
    throw UserError("give one of TEXT, --file FILE and --lines FILE (- is standard input)");
  }
  if (f.decode && f.count) throw UserError("--count counts the tokens of texts; leave out --decode");
  const Worker worker(f);
  if (!f.lines.empty()) {
    run_lines(f, worker);
  } else if (f.decode) {
    const std::string text = read_text(f);
    fmt::print("{}\n", worker.decode(ids_of(parse_json(text, "--decode"), "--decode")));
  } else {
    const std::vector<int32_t> ids = worker.encode(read_text(f));
    if (f.count) {
      fmt::print("{}\n", ids.size());
    } else {
      print_pieces(worker, ids);
    }
  }
  return 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_tokenize;
const CommandInfo kCommandInfo_tokenize = {
    "tokenize", "turn texts into token ids, and back",
    "  kvlab tokenize 'Hello, world'\n"
    "  kvlab tokenize --model path/to/folder --file book.txt --count\n"
    "  kvlab tokenize --lines texts.jsonl >ids.jsonl\n"
    "  kvlab tokenize --decode '[1, 19556, 2]'\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      app.add_option("TEXT", f->text, "the text, or with --decode a list of ids as [1,2,3]");
      app.add_option("--model", f->model,
                     "GGUF file, or folder with tokenizer.json or tokenizer.model [the built-in model]");
      app.add_option("--file", f->file, "read the text from a file; - is standard input [none]");
      app.add_option("--lines", f->lines,
                     "read many texts, one JSON string a line, and print a list of ids for each; - is "
                     "standard input [none]");
      app.add_flag("--decode", f->decode, "the other way: from ids to texts");
      app.add_flag("--count", f->count, "print only how many tokens there are");
      app.add_option("--special", f->special,
                     "yes: special tokens in the text become their ids, and are written out when decoding; "
                     "no: they are text, and left out [yes]");
      app.add_option("--bos", f->bos, "set BOS before the text, yes or no [as the tokenizer says]");
      app.add_option("--eos", f->eos, "set EOS behind the text, yes or no [as the tokenizer says]");
      return [f] { return run(*f); };
    }};

}  // namespace kvlab
