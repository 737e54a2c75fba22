// A cache of a fixed size stays one: bytes do not creep, however long a session goes on.
#include <gtest/gtest.h>

#include "contract/harness.h"

namespace kvlab {
namespace {

using testing::method_of;
using testing::random_tokens;
using testing::tiny_model;
using testing::tiny_shape;

class LongRunTest : public testing::OneThread {};

constexpr int64_t kTokens = 3000, kExtend = 512;

// Of every way of attending; tova decides for all heads together.
TEST_F(LongRunTest, BytesAreFlatFromTheSecondExtendOn) {
  KVLAB_NEEDS_FULL_ATTENTION();
  const std::vector<int32_t> tokens = random_tokens(kTokens, 121);
  for (const std::string recipe : {"knorm(size=64)", "streaming_llm(size=64)", "h2o(size=64)",
                                   "tova(size=64)", "snapkv(size=64,every=32)", "expected_attention(size=64)",
                                   "two_phase(context=tova(keep=0.3),decode=h2o(size=64))"}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(recipe + (type == DType::kF32 ? "" : ", bf16"));
      CacheOptions options;
      options.type = type;
      const auto method = method_of(recipe);
      const int64_t start = allocated_bytes(Account::kCache);
      Session session(tiny_model(), method, options);
      int64_t flat = 0, peak = 0;
      for (int64_t at = 0; at < kTokens; at += kExtend) {
        session.extend(std::span(tokens).subspan(at, std::min(kExtend, kTokens - at)));
        if (at == 0 && method->spec.needs_context()) session.end_context();
        const int64_t bytes = session.cache().bytes().total();
        EXPECT_EQ(bytes, allocated_bytes(Account::kCache) - start);
        const int64_t every = method->spec.policy.every, tail = session.tokens() % every;
        if (at == 0) continue;
        EXPECT_EQ(session.cache().live_entries(), (64 + tail) * tiny_shape().layers * tiny_shape().kv_heads);
        if (at == kExtend) {
          flat = bytes;
          peak = session.cache().peak_bytes();
        }
        if (at > kExtend) {
          EXPECT_EQ(session.cache().peak_bytes(), peak) << "after " << session.tokens() << " tokens";
          if (tail == 0) {
            EXPECT_EQ(bytes, flat) << "after " << session.tokens() << " tokens";
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvlab
