// Passages of training texts, and the prompt that has a model repeat one: both copies of a passage are the
// same token ids, so that every token of the first has its like in the second.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/trainer.h"

namespace kvlab {

struct Passage {
  int text = 0;       // index among the texts
  int64_t first = 0;  // token of the text
  int length = 0;     // tokens
};

// Cuts texts into passages, one behind the other, of random lengths from 3/4 to 5/4 of `tokens`. What is left
// of a text and too short is not used.
std::vector<Passage> cut_passages(const std::vector<TrainText>& texts, int tokens, uint64_t seed);

// `count` of them drawn at random, or all if there are fewer; in the order in which they were given.
std::vector<Passage> draw_passages(const std::vector<Passage>& passages, int64_t count, uint64_t seed);

// `count` of a passage's positions drawn at random, ascending. count <= length.
std::vector<int32_t> draw_positions(int length, int count, uint64_t seed);

// The ids around and between the two copies.
struct RepeatFrame {
  std::vector<int32_t> before, between;
  std::string form;  // "chat (chatml)", "plain", "bare"
};

enum class PromptForm { kAuto, kChat, kPlain };

// chat: the tokenizer's template, the user giving a passage and "Repeat the previous context exactly.", the
// assistant answering with the passage. plain: BOS where the tokenizer adds it, the passage, the same request
// between blank lines, the passage. auto: chat where there is a template. Without a tokenizer the copies
// follow each other bare. Throws UserError: no template, or one of no known family.
RepeatFrame repeat_frame(const Tokenizer* tokenizer, PromptForm form);

// A prompt and where the copies of its passage begin.
struct RepeatPrompt {
  std::vector<int32_t> tokens;
  int first = 0, second = 0, length = 0;
};
RepeatPrompt repeat_prompt(const RepeatFrame& frame, std::span<const int32_t> passage);

}  // namespace kvlab
