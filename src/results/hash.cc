#include "results/hash.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"

namespace kvlab {

static_assert(std::endian::native == std::endian::little, "Hash64 reads words as they lie in memory");

void Hash64::add_word(uint64_t word) {
  state_ = std::rotl((state_ ^ word) * 0x100000001b3ull, 29);
}

void Hash64::add(const void* data, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(data);
  const auto* end = at + bytes;
  for (; bytes_ % 8 != 0 && at != end; ++at) {
    pending_ |= static_cast<uint64_t>(*at) << (bytes_ % 8 * 8);
    if (++bytes_ % 8 != 0) continue;
    add_word(pending_);
    pending_ = 0;
  }
  for (; end - at >= 8; at += 8, bytes_ += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    add_word(word);
  }
  for (; at != end; ++at, ++bytes_) pending_ |= static_cast<uint64_t>(*at) << (bytes_ % 8 * 8);
}

uint64_t Hash64::value() const {
  Hash64 end = *this;
  if (bytes_ % 8 != 0) end.add_word(pending_);
  end.add_word(bytes_);
  return mix64(end.state_);
}

std::string Hash64::hex() const {
  return fmt::format("{:016x}", value());
}

std::string hash_tokens(std::span<const int32_t> tokens) {
  Hash64 hash;
  hash.add(tokens.data(), tokens.size_bytes());
  return hash.hex();
}

std::string hash_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw UserError("cannot read " + path.string() + ": " + (file ? "is a folder" : std::strerror(errno)));
  }
  Hash64 hash;
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    hash.add(block.data(), static_cast<size_t>(file.gcount()));
  }
  if (file.bad()) throw UserError("cannot read all of " + path.string() + ": " + std::strerror(errno));
  return hash.hex();
}

}  // namespace kvlab
