#include "base/error.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

using nlohmann::json;

// One entry of the "decoder" section.
struct DecodeStep {
  enum class Kind { kReplace, kBytes, kFuse, kStrip } kind;
  std::string from, to;  // kReplace: what becomes what. kStrip: the character is `from`
  size_t start = 0;      // kStrip: so many at the start at most
  size_t stop = 0;       // and at the end
};

DecodeStep read_replace(const json& section) {
  const auto text = section.at("pattern").find("String");
  if (text == section.at("pattern").end()) {
    throw UserError("a decoder of type Replace is supported with a String pattern only");
  }
  DecodeStep step{DecodeStep::Kind::kReplace, text->get<std::string>(),
                  section.at("content").get<std::string>()};
  if (step.from.empty()) throw UserError("the decoder replaces an empty text");
  return step;
}

DecodeStep read_strip(const json& section) {
  DecodeStep step{DecodeStep::Kind::kStrip, section.at("content").get<std::string>(), ""};
  step.start = section.at("start").get<size_t>();
  step.stop = section.at("stop").get<size_t>();
  if (step.from.empty()) throw UserError("the decoder strips an empty text");
  return step;
}

std::vector<DecodeStep> read_decoder(const json& section) {
  if (section.at("type") != "Sequence") return read_decoder({{"type", "Sequence"}, {"decoders", {section}}});
  std::vector<DecodeStep> steps;
  for (const json& part : section.at("decoders")) {
    const auto type = part.at("type").get<std::string>();
    if (type == "Replace") {
      steps.push_back(read_replace(part));
    } else if (type == "ByteFallback") {
      steps.push_back({DecodeStep::Kind::kBytes, "", ""});
    } else if (type == "Fuse") {
      steps.push_back({DecodeStep::Kind::kFuse, "", ""});
    } else if (type == "Strip") {
      steps.push_back(read_strip(part));
    } else {
      throw UserError("decoder \"" + type +
                      "\" is not supported here (known: Replace, ByteFallback, Fuse, Strip)");
    }
  }
  return steps;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
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
  for (size_t i = 0; i < step.start && text.starts_with(step.from); ++i) text.erase(0, step.from.size());
  for (size_t i = 0; i < step.stop && text.ends_with(step.from); ++i)
    text.resize(text.size() - step.from.size());
}

std::string join(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

void apply(const DecodeStep& step, std::vector<std::string>& parts) {
  using Kind = DecodeStep::Kind;
  if (step.kind == Kind::kFuse) parts = {join(parts)};
  for (std::string& part : parts) {
    if (step.kind == Kind::kReplace) replace_all(part, step.from, step.to);
    if (step.kind == Kind::kBytes) token_to_byte(part);
    if (step.kind == Kind::kStrip) strip(part, step);
  }
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
    for (const DecodeStep& step : steps_) apply(step, parts);
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

std::shared_ptr<const Tokenizer> make_fallback_bpe(const json& tokenizer, HfSettings settings) {
  std::vector<std::string> tokens = read_vocabulary(tokenizer.at("model").at("vocab"), settings.added);
  return std::make_shared<FallbackBpe>(std::move(tokens), read_decoder(tokenizer.at("decoder")),
                                       std::move(settings));
}

}  // namespace kvlab
