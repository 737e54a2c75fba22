// Where a long text may be cut so that its parts can be encoded one after the other.
#pragma once

#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/splitter.h"

namespace kvlab {

// The cut is between a character that is no white space and a space, or between a letter of ASCII and a line
// feed. The splits of GPT-2, SmolLM, Llama 3 and Qwen 2 end a word there, whatever precedes: no alternative
// of their patterns matches across such a place (in those of Llama 3 and Qwen 2, line feeds run on from
// punctuation, but not from letters). They look ahead only from white space, and back never, so the words
// before the cut do not depend on what follows, nor those behind it on what precedes.
class TextCuts {
 public:
  // Never cuts with other splits, nor where an added token could reach over a cut, nor where the normalizer
  // could.
  TextCuts(const SplitSteps& split, const std::vector<AddedToken>& added, const Normalizer& normalizer);

  // The last place to cut in `text`, valid UTF-8; 0: there is none.
  size_t last(std::string_view text) const;

 private:
  bool cuts_;
};

}  // namespace kvlab
