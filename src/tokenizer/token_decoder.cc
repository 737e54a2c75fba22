#include "tokenizer/token_decoder.h"

#include <functional>
#include <string_view>

namespace kvlab {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEF";

// A step that treats each text for itself.
class EachStep : public DecodeStep {
 public:
  // The text, its place in the list, and the most bytes that it may become.
  using Change = std::function<std::string(std::string_view, size_t, size_t)>;
  explicit EachStep(Change change) : change_(std::move(change)) {}

  void apply(std::vector<std::string>& parts, size_t most) const override {
    size_t size = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i] = change_(parts[i], i, most);
      if ((size += parts[i].size()) > most) refuse_growth(most);
    }
  }

 private:
  Change change_;
};

std::string join(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

class FuseStep : public DecodeStep {
 public:
  void apply(std::vector<std::string>& parts, size_t) const override { parts = {join(parts)}; }
};

std::string token_to_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::string(token);
  const size_t high = kDigits.find(token[3]);
  const size_t low = kDigits.find(token[4]);
  if (high == kDigits.npos || low == kDigits.npos) return std::string(token);
  return std::string(1, static_cast<char>(high << 4 | low));
}

std::string strip(std::string_view text, const std::string& content, size_t start, size_t stop) {
  for (size_t i = 0; i < start && text.starts_with(content); ++i) text.remove_prefix(content.size());
  for (size_t i = 0; i < stop && text.ends_with(content); ++i) text.remove_suffix(content.size());
  return std::string(text);
}

}  // namespace

std::string TokenDecoder::apply(std::vector<std::string> parts) const {
  size_t size = 0;
  for (const std::string& part : parts) size += part.size();
  const size_t most = most_growth(size);
  for (const auto& step : steps_) step->apply(parts, most);
  return join(parts);
}

std::shared_ptr<const DecodeStep> decode_replace(TextReplacer replacer) {
  const auto shared = std::make_shared<const TextReplacer>(std::move(replacer));
  return std::make_shared<EachStep>(
      [shared](std::string_view text, size_t, size_t most) { return shared->apply(text, most); });
}

std::shared_ptr<const DecodeStep> decode_bytes() {
  return std::make_shared<EachStep>(
      [](std::string_view text, size_t, size_t) { return token_to_byte(text); });
}

std::shared_ptr<const DecodeStep> decode_fuse() {
  return std::make_shared<FuseStep>();
}

std::shared_ptr<const DecodeStep> decode_strip(std::string content, size_t start, size_t stop) {
  return std::make_shared<EachStep>(
      [content = std::move(content), start, stop](std::string_view text, size_t, size_t) {
        return strip(text, content, start, stop);
      });
}

std::shared_ptr<const DecodeStep> decode_metaspace(std::string mark, bool drop_first) {
  const auto to_space = std::make_shared<const TextReplacer>(mark, " ");
  const auto to_nothing = std::make_shared<const TextReplacer>(mark, "");
  return std::make_shared<EachStep>([=](std::string_view text, size_t place, size_t most) {
    return (place == 0 && drop_first ? to_nothing : to_space)->apply(text, most);
  });
}

std::string byte_token(unsigned char byte) {
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + '>';
}

}  // namespace kvlab
