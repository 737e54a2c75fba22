// Properties and normal forms of Unicode text, from utf8proc.
#pragma once

#include <string>
#include <string_view>

namespace kvlab {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Text must be valid UTF-8, here and below.
std::string to_normal_form(std::string_view text, NormalForm form);

// Each character for itself, without regard to language or place.
std::string to_lower_case(std::string_view text);

std::string without_marks(std::string_view text);  // of the categories Mn, Mc and Me

// A letter, mark, digit or connector, as in the class \w of regular expressions.
bool is_word_character(char32_t code_point);

}  // namespace kvlab
