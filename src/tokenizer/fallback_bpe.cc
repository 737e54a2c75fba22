#include "base/error.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

// One entry of the "decoder" section.
struct DecodeStep {
  enum class Kind { kReplace, kBytes, kFuse, kStrip } kind;
  std::string from, to;  // kReplace: what becomes what. kStrip: the character is `from`
  size_t start = 0;      // kStrip: so many at the start at most
  size_t stop = 0;       // and at the end
};

DecodeStep read_replace(const JsonSettings& section) {
  const auto text = section.needed_object("pattern").text("String");
  if (!text) throw UserError("a decoder of type Replace is supported with a String pattern only");
  if (text->empty()) throw UserError("the decoder replaces an empty text");
  return {DecodeStep::Kind::kReplace, *text, section.needed_text("content")};
}

DecodeStep read_strip(const JsonSettings& section) {
  constexpr int64_t kMost = 1 << 20;
  DecodeStep step{DecodeStep::Kind::kStrip, section.needed_text("content"), ""};
  step.start = static_cast<size_t>(section.needed_integer("start", 0, kMost));
  step.stop = static_cast<size_t>(section.needed_integer("stop", 0, kMost));
  if (step.from.empty()) throw UserError("the decoder strips an empty text");
  return step;
}

DecodeStep read_step(const JsonSettings& section) {
  const std::string type = section.needed_text("type");
  if (type == "Replace") return read_replace(section);
  if (type == "ByteFallback") return {DecodeStep::Kind::kBytes, "", ""};
  if (type == "Fuse") return {DecodeStep::Kind::kFuse, "", ""};
  if (type == "Strip") return read_strip(section);
  throw UserError("decoder \"" + type +
                  "\" is not supported here (known: Replace, ByteFallback, Fuse, Strip)");
}

std::vector<DecodeStep> read_decoder(const JsonSettings& section) {
  if (section.needed_text("type") != "Sequence") return {read_step(section)};
  std::vector<DecodeStep> steps;
  for (const JsonSettings& part : section.objects("decoders")) steps.push_back(read_step(part));
  return steps;
}

[[noreturn]] void refuse_growth(size_t most) {
  throw UserError("the decoder's replacements make more than " + std::to_string(most) +
                  " bytes of this text; tokenizer.json is damaged");
}

// Refuses a result of more than `most` bytes.
void replace_all(std::string& text, const DecodeStep& step, size_t most) {
  std::string result;
  size_t done = 0;
  for (size_t at = text.find(step.from); at != std::string::npos; at = text.find(step.from, done)) {
    result.append(text, done, at - done).append(step.to);
    done = at + step.from.size();
    if (result.size() > most) refuse_growth(most);
  }
  text = std::move(result.append(text, done));
}

// "<0x0A>" becomes the byte 10.
void token_to_byte(std::string& token) {
  const std::string_view digits = "0123456789ABCDEF";
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return;
  const size_t high = digits.find(token[3]);
  const size_t low = digits.find(token[4]);
  if (high == digits.npos || low == digits.npos) return;
  token = std::string(1, static_cast<char>(high << 4 | low));
}

void strip(std::string& text, const DecodeStep& step) {
  std::string_view left = text;
  for (size_t i = 0; i < step.start && left.starts_with(step.from); ++i) left.remove_prefix(step.from.size());
  for (size_t i = 0; i < step.stop && left.ends_with(step.from); ++i) left.remove_suffix(step.from.size());
  text = std::string(left);
}

std::string join(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

// Refuses a result of more than `most` bytes.
void apply(const DecodeStep& step, std::vector<std::string>& parts, size_t most) {
  using Kind = DecodeStep::Kind;
  if (step.kind == Kind::kFuse) parts = {join(parts)};
  size_t size = 0;
  for (std::string& part : parts) {
    if (step.kind == Kind::kReplace) replace_all(part, step, most);
    if (step.kind == Kind::kBytes) token_to_byte(part);
    if (step.kind == Kind::kStrip) strip(part, step);
    if ((size += part.size()) > most) refuse_growth(most);
  }
}

// A few replacements that each double a text would fill the memory, so there is an end to growth.
void apply_all(const std::vector<DecodeStep>& steps, std::vector<std::string>& parts) {
  constexpr size_t kMostGrowth = 64, kAlwaysFine = 1 << 16;
  const size_t most = kMostGrowth * join(parts).size() + kAlwaysFine;
  for (const DecodeStep& step : steps) apply(step, parts, most);
}

class FallbackBpe : public Tokenizer {
 public:
  FallbackBpe(std::vector<std::string> tokens, std::vector<DecodeStep> steps, HfSettings settings)
      : tokens_(std::move(tokens)), steps_(std::move(steps)), settings_(std::move(settings)) {
    is_special_.resize(tokens_.size());
    for (const AddedToken& token : settings_.added) is_special_.at(token.id) = token.special;
  }

  std::vector<int32_t> encode(std::string_view, bool) const override {
    throw UserError("encoding with byte-fallback BPE is not supported yet");
  }

  std::vector<int32_t> encode_parts(std::span<const TextPart>) const override { return encode("", true); }

  std::string decode(const std::vector<int32_t>& ids, bool special) const override {
    std::vector<std::string> parts;
    for (const int32_t id : ids) {
      require_token(id, vocab_size());
      if (special || !is_special_[id]) parts.push_back(tokens_[id]);
    }
    apply_all(steps_, parts);
    return join(parts);
  }

  int vocab_size() const override { return static_cast<int>(tokens_.size()); }
  int bos() const override { return settings_.bos; }
  int eos() const override { return settings_.eos; }
  bool add_bos() const override { return settings_.add_bos; }
  const std::string& chat_template() const override { return settings_.chat_template; }
  std::string description() const override {
    return "BPE with byte fallback (decoding only), " + std::to_string(vocab_size()) + " tokens";
  }

 private:
  std::vector<std::string> tokens_;
  std::vector<DecodeStep> steps_;
  HfSettings settings_;
  std::vector<bool> is_special_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_fallback_bpe(std::vector<std::string> tokens,
                                                   const JsonSettings& decoder, HfSettings settings) {
  return std::make_shared<FallbackBpe>(std::move(tokens), read_decoder(decoder), std::move(settings));
}

}  // namespace kvlab
