// The "pre_tokenizer" section of tokenizer.json.
#include "base/error.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

using nlohmann::json;

const std::string& digit_pattern() {
  return smollm_split().front().pattern;
}
const std::string& gpt2_pattern() {
  return gpt2_split().front().pattern;
}

SplitStep read_byte_level(const json& section) {
  SplitStep step;
  if (section.value("use_regex", true)) step.pattern = gpt2_pattern();
  step.add_prefix_space = section.value("add_prefix_space", true);
  return step;
}

SplitStep read_digits(const json& section) {
  return {section.value("individual_digits", false) ? digit_pattern() : digit_pattern() + "+"};
}

SplitStep read_split(const json& section) {
  const auto regex = section.at("pattern").find("Regex");
  const auto behavior = section.at("behavior").get<std::string>();
  if (regex == section.at("pattern").end() || behavior != "Isolated" || section.value("invert", false)) {
    throw UserError(
        "a pre_tokenizer of type Split is supported with a Regex, behavior Isolated and invert false only");
  }
  return {regex->get<std::string>()};
}

// Appends the steps of `section`; true when it holds a ByteLevel.
bool append_steps(const json& section, SplitSteps& steps) {
  const auto type = section.at("type").get<std::string>();
  bool byte_level = false;
  if (type == "Sequence") {
    for (const json& part : section.at("pretokenizers")) byte_level |= append_steps(part, steps);
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

SplitSteps read_pre_tokenizer(const json& section) {
  SplitSteps steps;
  if (!section.is_object() || !append_steps(section, steps)) {
    throw UserError("byte-level BPE needs a pre_tokenizer with ByteLevel, and there is none");
  }
  // A ByteLevel that only maps bytes cuts nothing; without it, steps compare equal to the known ones.
  std::erase(steps, SplitStep{});
  return steps;
}

}  // namespace kvlab
