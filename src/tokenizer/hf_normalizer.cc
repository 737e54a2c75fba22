// The "normalizer" section of tokenizer.json.
#include <optional>

#include "base/error.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

std::optional<NormalForm> find_form(const std::string& type) {
  if (type == "NFC") return NormalForm::kNfc;
  if (type == "NFD") return NormalForm::kNfd;
  if (type == "NFKC") return NormalForm::kNfkc;
  if (type == "NFKD") return NormalForm::kNfkd;
  return std::nullopt;
}

void append_steps(const JsonSettings& section, Normalizer& normalizer) {
  const std::string type = section.needed_text("type");
  if (type == "Sequence") {
    for (const JsonSettings& part : section.objects("normalizers")) append_steps(part, normalizer);
  } else if (const auto form = find_form(type)) {
    normalizer.add(normal_form_step(*form));
  } else if (type == "Prepend") {
    normalizer.add(prepend_step(section.needed_text("prepend"), false));
  } else if (type == "Replace") {
    normalizer.add(replace_step(read_replace(section)));
  } else if (type == "Lowercase") {
    normalizer.add(lower_case_step());
  } else if (type == "StripAccents") {
    normalizer.add(strip_marks_step());
  } else if (type == "Strip") {
    normalizer.add(strip_space_step(section.flag("strip_left").value_or(true),
                                    section.flag("strip_right").value_or(true)));
  } else {
    throw UserError("normalizer \"" + type +
                    "\" is not supported (known: NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, "
                    "StripAccents, Strip, Sequence)");
  }
}

}  // namespace

TextReplacer read_replace(const JsonSettings& section) {
  const JsonSettings pattern = section.needed_object("pattern");
  std::string content = section.needed_text("content");
  if (const auto regex = pattern.text("Regex")) return {Pattern(*regex), std::move(content)};
  std::string text = pattern.needed_text("String");
  if (text.empty()) throw pattern.bad("String", "a text that is not empty");
  return {std::move(text), std::move(content)};
}

Normalizer read_normalizer(const JsonSettings& tokenizer) {
  Normalizer normalizer;
  if (const auto section = tokenizer.object("normalizer")) append_steps(*section, normalizer);
  return normalizer;
}

}  // namespace kvlab
