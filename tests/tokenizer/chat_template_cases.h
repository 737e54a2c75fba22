// Templates of the known families, in the expressions of the originals but without their other branches, and
// the prompts that transformers' Jinja settings give for the originals (BOS <B>, EOS <E>). Each of these
// templates gives the same prompts as its original for all conversations of tools/tokenizers/check_chat.py.
#pragma once

#include <string>
#include <vector>

namespace kvlab::testing {

struct ChatCase {
  const char* name;
  const char* text;
  const char* alone;  // of " Hi \n" alone; where a date is asked for, "7 March"
  // Of the turns " Hi ", "<think>\nWell.\n</think>\n\n Yes. \n" and "\tBye", after the system message
  // " Be brief. " where the template takes one.
  const char* talk;
  bool takes_system;
};

const std::vector<ChatCase>& chat_cases();
const ChatCase& chat_case(const std::string& name);

}  // namespace kvlab::testing
