// Writes the seeds that are binary files of valid models, for the fuzzers to start from. Usage:
// fuzz_make_seeds FOLDER, which gets a folder for each target. Seeds that are text, and inputs that once
// failed, lie in fuzz/seeds.
#include <gguf.h>  // ggml's

#include <cstdio>
#include <filesystem>
#include <memory>

#include "support/tiny_model.h"
#include "tokenizer/byte_map.h"

namespace {

namespace fs = std::filesystem;
using kvlab::testing::TinyGgufType;
using kvlab::testing::TinyModelOptions;

using Gguf = std::unique_ptr<gguf_context, decltype(&gguf_free)>;

Gguf empty_gguf() {
  return {gguf_init_empty(), gguf_free};
}

void write(const Gguf& gguf, const fs::path& path) {
  if (!gguf_write_to_file(gguf.get(), path.c_str(), false))
    throw std::runtime_error("cannot write " + path.string());
}

// One key of every type.
void write_types(const fs::path& path) {
  const Gguf gguf = empty_gguf();
  gguf_context* g = gguf.get();
  gguf_set_val_u8(g, "u8", 200);
  gguf_set_val_i8(g, "i8", -3);
  gguf_set_val_u16(g, "u16", 60000);
  gguf_set_val_i16(g, "i16", -300);
  gguf_set_val_u32(g, "u32", 4000000000U);
  gguf_set_val_i32(g, "i32", -5);
  gguf_set_val_u64(g, "u64", ~0ULL);
  gguf_set_val_i64(g, "i64", -7);
  gguf_set_val_f32(g, "f32", 0.5F);
  gguf_set_val_f64(g, "f64", 0.25);
  gguf_set_val_bool(g, "bool", true);
  gguf_set_val_str(g, "str", "text");
  const char* texts[] = {"one", "", "three"};
  gguf_set_arr_str(g, "strs", texts, 3);
  const uint8_t bytes[] = {1, 2, 3};
  gguf_set_arr_data(g, "u8s", GGUF_TYPE_UINT8, bytes, 3);
  const int64_t longs[] = {1, -2};
  gguf_set_arr_data(g, "i64s", GGUF_TYPE_INT64, longs, 2);
  const float floats[] = {1.5F};
  gguf_set_arr_data(g, "f32s", GGUF_TYPE_FLOAT32, floats, 1);
  gguf_set_arr_data(g, "bools", GGUF_TYPE_BOOL, bytes, 3);
  write(gguf, path);
}

// A vocabulary of the bytes a to z and blank, two merges and a special token.
void write_vocabulary(const fs::path& path, const char* pre) {
  const Gguf gguf = empty_gguf();
  std::vector<std::string> tokens = {"<|im_start|>", kvlab::bytes_to_chars(" ")};
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  tokens.insert(tokens.end(), {"ab", "abab"});
  std::vector<const char*> texts;
  for (const std::string& token : tokens) texts.push_back(token.c_str());
  std::vector<int32_t> types(tokens.size(), 1);
  types[0] = 3;
  const char* merges[] = {"a b", "ab ab"};
  gguf_set_val_str(gguf.get(), "tokenizer.ggml.model", "gpt2");
  gguf_set_val_str(gguf.get(), "tokenizer.ggml.pre", pre);
  gguf_set_arr_str(gguf.get(), "tokenizer.ggml.tokens", texts.data(), texts.size());
  gguf_set_arr_str(gguf.get(), "tokenizer.ggml.merges", merges, 2);
  gguf_set_arr_data(gguf.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
  gguf_set_val_u32(gguf.get(), "tokenizer.ggml.bos_token_id", 0);
  gguf_set_val_u32(gguf.get(), "tokenizer.ggml.eos_token_id", 1);
  gguf_set_val_bool(gguf.get(), "tokenizer.ggml.add_bos_token", true);
  gguf_set_val_str(gguf.get(), "tokenizer.chat_template", "{{ messages }}");
  write(gguf, path);
}

void make_seeds(const fs::path& root) {
  for (const char* target : {"gguf", "gguf_tokenizer", "safetensors"}) fs::create_directories(root / target);
  TinyModelOptions smallest{.layers = 1, .hidden = 4, .query_heads = 2, .kv_heads = 1, .head_dim = 2};
  smallest.intermediate = smallest.vocab = 3;
  smallest.llama3_rotary = true;
  TinyModelOptions blocks{.layers = 1, .hidden = 32, .query_heads = 1, .kv_heads = 1, .head_dim = 32};
  blocks.intermediate = 32;
  blocks.vocab = 3;
  const fs::path gguf = root / "gguf";
  write_tiny_gguf(smallest, gguf / "f32.gguf");
  write_tiny_gguf(smallest, gguf / "bf16.gguf", TinyGgufType::kBF16);
  write_tiny_gguf(smallest, gguf / "f16.gguf", TinyGgufType::kF16);
  write_tiny_gguf(blocks, gguf / "q4_1.gguf", TinyGgufType::kQ4_1);
  write_tiny_gguf(blocks, gguf / "q8_0.gguf", TinyGgufType::kQ8_0);
  write_types(gguf / "types.gguf");
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe"}) {
    write_vocabulary(root / "gguf_tokenizer" / (std::string(pre) + ".gguf"), pre);
  }
  const fs::path folder = write_tiny_hf(smallest, root / "hf");
  fs::rename(folder / "model.safetensors", root / "safetensors" / "llama.safetensors");
  fs::remove_all(folder);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: fuzz_make_seeds FOLDER\n", stderr), 2;
  make_seeds(argv[1]);
  return 0;
}
