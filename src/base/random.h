// Random numbers as a pure function of what they belong to, so that splits, forks and shards agree.
#pragma once

#include <cstdint>

namespace kvlab {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): mixes 64 bits well.
inline uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// A number in [0, 1) with 24 random bits, for one entry of the cache.
inline float entry_uniform(uint64_t seed, uint64_t document, uint64_t layer, uint64_t head,
                           uint64_t position) {
  uint64_t h = mix64(seed);
  h = mix64(h ^ document);
  h = mix64(h ^ (layer << 32 | head));
  h = mix64(h ^ position);
  return static_cast<float>(h >> 40) * 0x1p-24f;
}

}  // namespace kvlab
