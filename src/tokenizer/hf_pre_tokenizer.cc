// The "pre_tokenizer" section of tokenizer.json.
#include "base/error.h"
#include "tokenizer/known_splits.h"
#include "tokenizer/pattern.h"
#include "tokenizer/readers.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

SplitStep read_byte_level(const JsonSettings& section) {
  SplitStep step;
  if (section.flag("use_regex").value_or(true)) step.pattern = gpt2_pattern();
  if (section.flag("add_prefix_space").value_or(true)) {
    step.prefix = " ";
    step.place = PrefixPlace::kEveryPiece;
  }
  return step;
}

SplitBehavior read_behavior(const JsonSettings& section, const std::string& fallback) {
  const std::string name = section.text("behavior").value_or(fallback);
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  throw section.bad("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

SplitStep read_split(const JsonSettings& section) {
  const JsonSettings pattern = section.needed_object("pattern");
  const auto regex = pattern.text("Regex");
  SplitStep step;
  step.pattern = regex ? *regex : quote_pattern(pattern.needed_text("String"));
  step.behavior = read_behavior(section, "");
  step.invert = section.flag("invert").value_or(false);
  return step;
}

PrefixPlace read_prefix_place(const JsonSettings& section) {
  // Files from before "prepend_scheme" have a flag instead.
  const bool adds = section.flag("add_prefix_space").value_or(true);
  const std::string scheme = section.text("prepend_scheme").value_or(adds ? "always" : "never");
  if (scheme == "always") return PrefixPlace::kEveryPiece;
  if (scheme == "first") return PrefixPlace::kStartOfText;
  if (scheme == "never") return PrefixPlace::kNowhere;
  throw section.bad("prepend_scheme", "first, always or never");
}

SplitStep read_metaspace(const JsonSettings& section) {
  SplitStep step;
  step.space = section.needed_text("replacement");
  if (step.space.empty()) throw section.bad("replacement", "one character");
  step.prefix = step.space;
  step.place = read_prefix_place(section);
  if (section.flag("split").value_or(true)) {
    step.pattern = quote_pattern(step.space);
    step.behavior = SplitBehavior::kMergedWithNext;
  }
  return step;
}

SplitStep make_split(std::string pattern, SplitBehavior behavior, bool invert = false) {
  SplitStep step = isolate(std::move(pattern));
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

SplitStep read_step(const JsonSettings& section, const std::string& type) {
  if (type == "ByteLevel") return read_byte_level(section);
  if (type == "Split") return read_split(section);
  if (type == "Metaspace") return read_metaspace(section);
  if (type == "Digits") {
    const bool each = section.flag("individual_digits").value_or(false);
    return make_split(kDigitPattern, each ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Whitespace")
    return make_split(R"([\w\x{200C}\x{200D}]+|[^\w\s\x{200C}\x{200D}]+)", SplitBehavior::kRemoved, true);
  if (type == "WhitespaceSplit") return make_split(R"(\s)", SplitBehavior::kRemoved);
  if (type == "Punctuation") return make_split(R"([!-/:-@\[-`{-~\p{P}])", read_behavior(section, "Isolated"));
  throw UserError("pre_tokenizer \"" + type +
                  "\" is not supported (known: ByteLevel, Digits, Metaspace, Punctuation, Split, Whitespace, "
                  "WhitespaceSplit, Sequence)");
}

void append_steps(const JsonSettings& section, HfPreTokenizer& out) {
  const std::string type = section.needed_text("type");
  if (type == "Sequence") {
    for (const JsonSettings& part : section.objects("pretokenizers")) append_steps(part, out);
    return;
  }
  if (out.by_bytes)
    throw UserError("the pre_tokenizer has \"" + type + "\" behind ByteLevel (expected nothing)");
  out.steps.push_back(read_step(section, type));
  out.by_bytes = type == "ByteLevel";
}

}  // namespace

HfPreTokenizer read_pre_tokenizer(const JsonSettings& tokenizer) {
  HfPreTokenizer out;
  if (const auto section = tokenizer.object("pre_tokenizer")) append_steps(*section, out);
  // A ByteLevel that only maps bytes cuts nothing; without it, steps compare equal to the known ones.
  std::erase(out.steps, SplitStep{});
  return out;
}

}  // namespace kvlab
