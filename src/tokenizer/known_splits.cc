#include "tokenizer/known_splits.h"

namespace kvlab {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
// One digit at a time.
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
// Marks belong to the word that they stand in.
constexpr const char* kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
// Words end where capitals begin.
constexpr const char* kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace

const char* const kDigitPattern = R"(\p{N})";

const std::string& gpt2_pattern() {
  static const std::string pattern = kGpt2Pattern;
  return pattern;
}

const SplitSteps& gpt2_split() {
  static const SplitSteps steps = {isolate(kGpt2Pattern)};
  return steps;
}

const SplitSteps& smollm_split() {
  static const SplitSteps steps = {isolate(kDigitPattern), isolate(kGpt2Pattern)};
  return steps;
}

const SplitSteps& llama3_split() {
  static const SplitSteps steps = {isolate(kLlama3Pattern)};
  return steps;
}

const SplitSteps& qwen2_split() {
  static const SplitSteps steps = {isolate(kQwen2Pattern)};
  return steps;
}

const SplitSteps& qwen35_split() {
  static const SplitSteps steps = {isolate(kQwen35Pattern)};
  return steps;
}

const SplitSteps& tekken_split() {
  static const SplitSteps steps = {isolate(kTekkenPattern)};
  return steps;
}

const SplitSteps& gpt4o_split() {
  static const SplitSteps steps = {isolate(kGpt4oPattern)};
  return steps;
}

std::string split_name(const SplitSteps& steps) {
  if (steps == gpt2_split()) return "gpt-2";
  if (steps == smollm_split()) return "smollm";
  if (steps == llama3_split()) return "llama-bpe";
  if (steps == qwen2_split()) return "qwen2";
  if (steps == qwen35_split()) return "qwen35";
  if (steps == tekken_split()) return "tekken";
  if (steps == gpt4o_split()) return "gpt-4o";
  return "";
}

}  // namespace kvlab
