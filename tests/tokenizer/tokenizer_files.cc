#include "tokenizer/tokenizer_files.h"

#include "base/random.h"
#include "tokenizer/byte_map.h"
#include "tokenizer/utf8.h"

namespace kvlab::testing {

nlohmann::json tiny_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges) {
  nlohmann::json vocab, pairs = nlohmann::json::array();
  int next = 0;
  for (int byte = 0; byte < 256; ++byte)
    vocab[bytes_to_chars(std::string(1, static_cast<char>(byte)))] = next++;
  for (const auto& [left, right] : merges) {
    const std::string a = bytes_to_chars(left), b = bytes_to_chars(right);
    pairs.push_back({a, b});
    if (!vocab.contains(a + b)) vocab[a + b] = next++;
  }
  return {
      {"added_tokens", {{{"id", next}, {"content", "<|end|>"}, {"special", true}, {"normalized", false}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", pairs}}},
  };
}

std::string random_text(uint64_t seed, int count) {
  constexpr char32_t kStarts[] = {0x20,  0x61,  0x41,  0x30,   0x09,   0xC0,
                                  0x300, 0x400, 0x660, 0x2000, 0x4E00, 0x1F600};
  std::string text;
  for (int i = 0; i < count; ++i) {
    const uint64_t r = mix64(seed * 1000003 + static_cast<uint64_t>(i));
    const bool is_common = r % 3 != 0;
    const char32_t start = is_common ? kStarts[r / 3 % 4] : kStarts[r / 3 % 12];
    append_utf8(text, start + static_cast<char32_t>((r >> 32) % (is_common && start == 0x20 ? 1 : 10)));
  }
  return text;
}

}  // namespace kvlab::testing
