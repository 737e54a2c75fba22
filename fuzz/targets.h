// The fuzz targets: one function for each thing that kvlab reads from outside. A target feeds its input to
// the readers, and throws, crashes or trips a sanitizer for anything but a result or a UserError. Both the
// libFuzzer programs and the test that replays fuzz/seeds call them.
#pragma once

#include <cstdint>
#include <span>

namespace kvlab::fuzz {

void fuzz_gguf(std::span<const uint8_t> input);            // a GGUF file: metadata and tensors
void fuzz_gguf_tokenizer(std::span<const uint8_t> input);  // a GGUF file: its vocabulary
void fuzz_safetensors(std::span<const uint8_t> input);
void fuzz_safetensors_index(std::span<const uint8_t> input);  // model.safetensors.index.json
void fuzz_hf_config(std::span<const uint8_t> input);          // config.json beside tensors that may fit
void fuzz_hf_tokenizer(std::span<const uint8_t> input);  // tokenizer.json; tokenizer_config.json after a NUL
void fuzz_kvzap_config(std::span<const uint8_t> input);  // config.json of a learned scorer
void fuzz_recipe(std::span<const uint8_t> input);
void fuzz_documents(std::span<const uint8_t> input);      // JSONL and plain text, packed or not
void fuzz_sentencepiece(std::span<const uint8_t> input);  // tokenizer.model
void fuzz_token_ids(std::span<const uint8_t> input);      // the file of `kvlab score --ids`
void fuzz_trained_on(std::span<const uint8_t> input);     // the record of a scorer's training text

}  // namespace kvlab::fuzz
