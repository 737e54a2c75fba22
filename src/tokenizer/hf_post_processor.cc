// The "post_processor" section of tokenizer.json: which tokens stand around a text.
#include "base/error.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

void set_token(std::string& token, std::string name) {
  if (!token.empty() && token != name) {
    throw UserError("the post_processor sets two tokens, \"" + token + "\" and \"" + name +
                    "\", on one side of a text (expected one)");
  }
  token = std::move(name);
}

void read_template(const JsonSettings& section, FrameTokens& frame) {
  bool behind = false;
  for (const JsonSettings& item : section.objects("single")) {
    if (const auto token = item.object("SpecialToken")) {
      set_token(behind ? frame.behind : frame.front, token->needed_text("id"));
    } else {
      behind = true;
    }
  }
}

void read_processor(const JsonSettings& section, FrameTokens& frame) {
  const std::string type = section.needed_text("type");
  if (type == "Sequence") {
    for (const JsonSettings& part : section.objects("processors")) read_processor(part, frame);
  } else if (type == "TemplateProcessing") {
    read_template(section, frame);
  } else if (type != "ByteLevel") {  // which only moves offsets
    throw UserError("post_processor \"" + type +
                    "\" is not supported (known: ByteLevel, TemplateProcessing, Sequence)");
  }
}

}  // namespace

FrameTokens read_post_processor(const JsonSettings& tokenizer) {
  FrameTokens frame;
  if (const auto section = tokenizer.object("post_processor")) read_processor(*section, frame);
  return frame;
}

}  // namespace kvlab
