#include "fuzz/support.h"

#include <cstdlib>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/error.h"

namespace kvlab::fuzz {

namespace {

constexpr int64_t kMostElements = 1 << 20;
constexpr int kMostDecoded = 300;  // ids of the vocabulary that are decoded

// Words of every kind that patterns tell apart, special tokens, and a word too long for the short merge loop.
constexpr std::string_view kText =
    "Hello  world's 123,456 I'LL \t\n\r\n <|im_start|>\u00a0<s> \u2581x \u00e9\u0301 "
    "\u65e5\u672c\u8a9e\u0660\u0661 \u180e\U0001f642!!?? abababababababababababababababababababab\x7f\x01 ";

// Parts of a text, cut where the tokenizer says, have the ids of the whole.
void check_cuts(const Tokenizer& tokenizer, bool special) {
  answers("", [&] {
    const std::vector<int32_t> whole = tokenizer.encode(kText, special);
    for (size_t at = tokenizer.last_cut(kText); at > 0; at = tokenizer.last_cut(kText.substr(0, at))) {
      std::vector<int32_t> parts = tokenizer.encode(kText.substr(0, at), special);
      const std::vector<int32_t> rest = tokenizer.encode(kText.substr(at), special);
      parts.insert(parts.end(), rest.begin(), rest.end());
      require(parts == whole, "other ids when the text is cut at " + std::to_string(at));
    }
  });
}

}  // namespace

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "kvlab_fuzz_XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("cannot make " + name);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Folder::write(const std::string& name, std::string_view content) const {
  const std::string full = file(name);
  std::ofstream out(full, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  require(static_cast<bool>(out.flush()), "cannot write " + full);
  return full;
}

bool answers(const std::string& name, const std::function<void()>& use) {
  try {
    use();
    return true;
  } catch (const UserError& error) {
    const std::string text = error.what();
    require(text.find(name) != text.npos, "the error does not name " + name + ": " + text);
    return false;
  }
}

void require(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

void read_tensors(const Weights& weights) {
  int64_t left = kMostElements;
  for (const std::string& name : weights.names()) {
    const std::vector<int64_t> shape = weights.shape(name);
    const int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    require(elements > 0, "a tensor without elements: " + name);
    if ((left -= elements) < 0) return;
    answers(weights.path(), [&] { weights.read(name, shape); });
  }
}

void use_tokenizer(const Tokenizer& tokenizer) {
  const int size = tokenizer.vocab_size();
  require(tokenizer.bos() < size && tokenizer.eos() < size, "BOS or EOS outside the vocabulary");
  for (const bool special : {false, true}) {
    answers("", [&] {
      const std::vector<int32_t> ids = tokenizer.encode(kText, special);
      for (const int32_t id : ids) require(id >= 0 && id < size, "an id outside the vocabulary");
      tokenizer.decode(ids, special);
    });
    check_cuts(tokenizer, special);
    std::vector<int32_t> all(std::min(size, kMostDecoded));
    std::iota(all.begin(), all.end(), 0);
    answers("", [&] { tokenizer.decode(all, special); });
  }
}

}  // namespace kvlab::fuzz
