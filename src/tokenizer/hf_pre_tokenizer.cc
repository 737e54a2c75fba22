// The "pre_tokenizer" section of tokenizer.json.
#include "base/error.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

const std::string& digit_pattern() {
  return smollm_split().front().pattern;
}
const std::string& gpt2_pattern() {
  return gpt2_split().front().pattern;
}

SplitStep read_byte_level(const JsonSettings& section) {
  SplitStep step;
  if (section.flag("use_regex").value_or(true)) step.pattern = gpt2_pattern();
  step.add_prefix_space = section.flag("add_prefix_space").value_or(true);
  return step;
}

SplitStep read_digits(const JsonSettings& section) {
  return {section.flag("individual_digits").value_or(false) ? digit_pattern() : digit_pattern() + "+"};
}

SplitStep read_split(const JsonSettings& section) {
  const auto regex = section.needed_object("pattern").text("Regex");
  if (!regex || section.needed_text("behavior") != "Isolated" || section.flag("invert").value_or(false)) {
    throw UserError(
        "a pre_tokenizer of type Split is supported with a Regex, behavior Isolated and invert false only");
  }
  return {*regex};
}

// Appends the steps of `section`; true when it holds a ByteLevel.
bool append_steps(const JsonSettings& section, SplitSteps& steps) {
  const std::string type = section.needed_text("type");
  bool byte_level = false;
  if (type == "Sequence") {
    for (const JsonSettings& part : section.objects("pretokenizers")) byte_level |= append_steps(part, steps);
  } else if (type == "ByteLevel") {
    steps.push_back(read_byte_level(section));
    byte_level = true;
  } else if (type == "Digits") {
    steps.push_back(read_digits(section));
  } else if (type == "Split") {
    steps.push_back(read_split(section));
  } else {
    throw UserError("pre_tokenizer \"" + type +
                    "\" is not supported (known: ByteLevel, Digits, Split, Sequence)");
  }
  return byte_level;
}

}  // namespace

SplitSteps read_pre_tokenizer(const JsonSettings& tokenizer) {
  SplitSteps steps;
  const auto section = tokenizer.object("pre_tokenizer");
  if (!section || !append_steps(*section, steps)) {
    throw UserError("byte-level BPE needs a pre_tokenizer with ByteLevel, and there is none");
  }
  // A ByteLevel that only maps bytes cuts nothing; without it, steps compare equal to the known ones.
  std::erase(steps, SplitStep{});
  return steps;
}

}  // namespace kvlab
