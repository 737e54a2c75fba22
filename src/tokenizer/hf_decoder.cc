// The "decoder" section of tokenizer.json.
#include "base/error.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

std::shared_ptr<const DecodeStep> read_strip(const JsonSettings& section) {
  constexpr int64_t kMost = 1 << 20;
  std::string content = section.needed_text("content");
  if (content.empty()) throw section.bad("content", "a text that is not empty");
  return decode_strip(std::move(content), static_cast<size_t>(section.needed_integer("start", 0, kMost)),
                      static_cast<size_t>(section.needed_integer("stop", 0, kMost)));
}

std::shared_ptr<const DecodeStep> read_metaspace(const JsonSettings& section) {
  std::string mark = section.needed_text("replacement");
  if (mark.empty()) throw section.bad("replacement", "one character");
  const bool adds = section.flag("add_prefix_space").value_or(true);
  return decode_metaspace(std::move(mark),
                          section.text("prepend_scheme").value_or(adds ? "always" : "never") != "never");
}

void append_steps(const JsonSettings& section, bool first, HfDecoder& out) {
  const std::string type = section.needed_text("type");
  if (type == "Sequence") {
    for (const JsonSettings& part : section.objects("decoders")) {
      append_steps(part, first, out);
      first = false;
    }
  } else if (type == "ByteLevel") {
    if (!first) throw UserError("the decoder has ByteLevel behind other steps (expected it first)");
    out.byte_table = true;
  } else if (type == "Replace") {
    out.steps.add(decode_replace(read_replace(section)));
  } else if (type == "ByteFallback") {
    out.steps.add(decode_bytes());
  } else if (type == "Fuse") {
    out.steps.add(decode_fuse());
  } else if (type == "Strip") {
    out.steps.add(read_strip(section));
  } else if (type == "Metaspace") {
    out.steps.add(read_metaspace(section));
  } else {
    throw UserError(
        "decoder \"" + type +
        "\" is not supported (known: ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, Sequence)");
  }
}

}  // namespace

HfDecoder read_decoder(const JsonSettings& tokenizer) {
  HfDecoder out;
  append_steps(tokenizer.needed_object("decoder"), true, out);
  return out;
}

}  // namespace kvlab
