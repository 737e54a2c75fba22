// A 64-bit fingerprint of data: the token set and the model file of a run. It tells apart what differs by
// accident; it is no protection against somebody who wants two files to look the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace kvlab {

// FNV-1a with its 64-bit offset and prime, over little-endian words of 8 bytes instead of bytes (about a
// gigabyte in a third of a second), and a rotation by 29 after each product: a product only carries upwards,
// and without it two flipped sign bits would cancel. The last word is padded with zeros; the length and a
// final mix end it.
class Hash64 {
 public:
  void add(const void* data, size_t bytes);
  void add(uint64_t number) { add(&number, sizeof number); }
  uint64_t value() const;
  std::string hex() const;  // 16 digits

 private:
  void add_word(uint64_t word);

  uint64_t state_ = 0xcbf29ce484222325ull;
  uint64_t bytes_ = 0;
  uint64_t pending_ = 0;  // bytes_ % 8 bytes that wait for their word to fill
};

// Several documents: add each one's length and ids to one Hash64 in order.
std::string hash_tokens(std::span<const int32_t> tokens);

// Throws UserError when the file cannot be read.
std::string hash_file(const std::filesystem::path& path);

}  // namespace kvlab
