// The cuts into words that widespread vocabularies were trained with, by the names that GGUF files use.
#pragma once

#include <string>

#include "tokenizer/splitter.h"

namespace kvlab {

extern const char* const kDigitPattern;
const std::string& gpt2_pattern();

const SplitSteps& gpt2_split();
const SplitSteps& smollm_split();
const SplitSteps& llama3_split();
const SplitSteps& qwen2_split();
const SplitSteps& qwen35_split();
const SplitSteps& tekken_split();
const SplitSteps& gpt4o_split();

// "gpt-2", "smollm", "llama-bpe", ..., or "" when the steps are none of these.
std::string split_name(const SplitSteps& steps);

}  // namespace kvlab
