// Is this UTF-8? Files and names come from outside; JSON and the drawing library both refuse bytes that are
// not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvlab {

// The offset of the first byte that does not belong to well-formed UTF-8 (overlong forms and surrogates are
// not), or npos when all is well.
size_t first_invalid_utf8(std::string_view text);

// The same text with every offending byte replaced by '?'.
std::string with_valid_utf8(std::string_view text);

// How many terminal columns the text takes, one per code point: right for Latin and Greek letters and signs
// like ± and Δ, which is all that tables hold besides the user's own names.
size_t display_width(std::string_view text);

}  // namespace kvlab
