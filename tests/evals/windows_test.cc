// Which tokens are read together and which are scored, against the definitions written out label by label.
#include "evals/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "base/error.h"

namespace kvlab {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// Token t of the document is the number t.
TokenDocument counted(int64_t n, const std::string& id = "doc") {
  TokenDocument document;
  document.id = id;
  document.tokens.resize(n);
  std::iota(document.tokens.begin(), document.tokens.end(), 0);
  document.scored.assign(n, 1);
  document.scored[0] = 0;
  return document;
}

// [first, end) of the text, and whether the label at position p of the text is scored.
struct Expected {
  int64_t first, end;
  std::function<bool(int64_t)> scored;
};

void expect_windows(const std::vector<Window>& windows, const std::vector<Expected>& expected) {
  ASSERT_EQ(windows.size(), expected.size());
  for (size_t w = 0; w < windows.size(); ++w) {
    const TokenDocument& tokens = windows[w].tokens;
    EXPECT_EQ(tokens.index, static_cast<int64_t>(w));
    EXPECT_EQ(windows[w].first, expected[w].first);
    ASSERT_EQ(static_cast<int64_t>(tokens.tokens.size()), expected[w].end - expected[w].first);
    for (int64_t p = expected[w].first; p < expected[w].end; ++p) {
      EXPECT_EQ(tokens.tokens[p - expected[w].first], p);
      EXPECT_EQ(tokens.scored[p - expected[w].first] != 0, expected[w].scored(p))
          << "window " << w << " " << p;
    }
  }
}

int64_t scored_count(const std::vector<Window>& windows) {
  int64_t count = 0;
  for (const Window& window : windows) {
    for (const uint8_t scored : window.tokens.scored) count += scored;
  }
  return count;
}

// Hugging Face's loop, transcribed: labels before the last trg_len are left out, and so is the first token of
// a window, which nothing predicts.
std::vector<Expected> strided_by_hand(int64_t n, int64_t max_length, int64_t stride) {
  std::vector<Expected> expected;
  int64_t previous_end = 0;
  for (int64_t begin = 0; begin < n; begin += stride) {
    const int64_t end = std::min(begin + max_length, n), target = end - previous_end;
    if (end - begin > 1)
      expected.push_back({begin, end, [=](int64_t p) { return p >= end - target && p > begin; }});
    previous_end = end;
    if (end == n) break;
  }
  return expected;
}

WindowOptions options_of(WindowProtocol protocol, int64_t max_length) {
  WindowOptions options;
  options.protocol = protocol;
  options.max_length = max_length;
  return options;
}

TEST(Windows, StreamScoresEveryTokenOfEveryPiece) {
  WindowOptions options = options_of(WindowProtocol::kStream, 0);
  expect_windows(make_windows({counted(7)}, options), {{0, 7, [](int64_t p) { return p > 0; }}});
  options.max_length = 3;
  const auto inside = [](int64_t p) { return p % 3 != 0; };
  expect_windows(make_windows({counted(8)}, options), {{0, 3, inside}, {3, 6, inside}, {6, 8, inside}});
  // A rest of one token has nothing to score.
  expect_windows(make_windows({counted(7)}, options), {{0, 3, inside}, {3, 6, inside}});
}

TEST(Windows, PrefixScoresWhatFollowsTheContext) {
  WindowOptions options = options_of(WindowProtocol::kPrefix, 10);
  options.context = 4;
  const auto after = [](int64_t p) { return p % 10 >= 4; };
  expect_windows(make_windows({counted(25)}, options), {{0, 10, after}, {10, 20, after}, {20, 25, after}});
  expect_windows(make_windows({counted(24)}, options), {{0, 10, after}, {10, 20, after}});
  EXPECT_EQ(session_protocol(options).context, 4);
}

TEST(Windows, StrideScoresEachTokenOnce) {
  for (const int64_t n : {2, 5, 16, 17, 31, 32, 33, 100}) {
    for (const int64_t max_length : {2, 8, 16}) {
      for (int64_t stride = 1; stride <= max_length; ++stride) {
        WindowOptions options = options_of(WindowProtocol::kStride, max_length);
        options.stride = stride;
        const auto windows = make_windows({counted(n)}, options);
        expect_windows(windows, strided_by_hand(n, max_length, stride));
        if (stride == max_length) continue;  // then nothing predicts the first token of a window
        EXPECT_EQ(scored_count(windows), n - 1) << n << " " << max_length;
      }
    }
  }
}

TEST(Windows, ChunksByTheConventionOfGptq) {
  const auto windows = make_windows({counted(35)}, options_of(WindowProtocol::kChunks, 8));
  const auto inside = [](int64_t p) { return p % 8 != 0; };
  expect_windows(windows, {{0, 8, inside}, {8, 16, inside}, {16, 24, inside}, {24, 32, inside}});
  EXPECT_EQ(scored_count(windows), 4 * 7);
}

TEST(Windows, ChunksByTheConventionOfLlamaCpp) {
  for (const int64_t size : {3, 8, 9, 512}) {
    WindowOptions options = options_of(WindowProtocol::kChunks, size);
    options.convention = ChunkConvention::kLlamaCpp;
    const auto windows = make_windows({counted(3 * size + 1)}, options);
    // Labels first + 1 ... n_ctx - 1 with first = n_ctx / 2.
    const auto second_half = [size](int64_t p) { return p % size >= size / 2 + 1; };
    expect_windows(
        windows, {{0, size, second_half}, {size, 2 * size, second_half}, {2 * size, 3 * size, second_half}});
    EXPECT_EQ(scored_count(windows), 3 * (size - 1 - size / 2));
  }
}

TEST(Windows, LlamaCppPutsBosInThePlaceOfTheFirstToken) {
  WindowOptions options = options_of(WindowProtocol::kChunks, 4);
  options.convention = ChunkConvention::kLlamaCpp;
  options.chunk_bos = 99;
  const auto windows = make_windows({counted(8)}, options);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_THAT(windows[0].tokens.tokens, testing::ElementsAre(99, 1, 2, 3));
  EXPECT_THAT(windows[1].tokens.tokens, testing::ElementsAre(99, 5, 6, 7));
  options.convention = ChunkConvention::kGptq;
  EXPECT_EQ(make_windows({counted(8)}, options)[0].tokens.tokens[0], 0);
}

TEST(Windows, MaxSamplesCountsWindowsOverAllDocuments) {
  WindowOptions options = options_of(WindowProtocol::kStream, 4);
  options.max_samples = 3;
  const auto windows = make_windows({counted(8, "a"), counted(8, "b")}, options);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[2].tokens.id, "b");
  EXPECT_EQ(windows[2].first, 0);
}

// What is read of a document that is as long as can be, against windows over a long one.
TEST(Windows, TokensNeededGiveTheSameWindows) {
  for (const auto protocol :
       {WindowProtocol::kStream, WindowProtocol::kPrefix, WindowProtocol::kStride, WindowProtocol::kChunks}) {
    for (const int64_t samples : {1, 2, 7}) {
      WindowOptions options;
      options.protocol = protocol;
      options.max_length = 12;
      options.stride = 5;
      options.context = protocol == WindowProtocol::kPrefix ? 4 : 0;
      options.max_samples = samples;
      const int64_t needed = tokens_needed(options, 0);
      EXPECT_LE(needed, 12 * samples);
      const auto all = make_windows({counted(500)}, options), some = make_windows({counted(needed)}, options);
      ASSERT_EQ(all.size(), some.size());
      for (size_t w = 0; w < all.size(); ++w) {
        EXPECT_EQ(all[w].first, some[w].first);
        EXPECT_EQ(all[w].tokens.tokens, some[w].tokens.tokens);
        EXPECT_EQ(all[w].tokens.scored, some[w].tokens.scored);
      }
      EXPECT_EQ(tokens_needed(options, 3), 3) << "--max_tokens counts as well";
    }
  }
  WindowOptions whole;
  EXPECT_EQ(tokens_needed(whole, 0), 0);
  whole.max_samples = 2;
  EXPECT_EQ(tokens_needed(whole, 0), 0) << "whole documents";
  whole.max_length = int64_t{1} << 62;
  EXPECT_EQ(tokens_needed(whole, 9), 9);
  whole.max_samples = 9;
  EXPECT_EQ(tokens_needed(whole, 0), 0) << "more than can be counted is all";
}

TEST(Windows, MasksStayWithTheirTokens) {
  TokenDocument document = counted(8);
  document.scored[6] = 0;
  const auto windows = make_windows({document}, options_of(WindowProtocol::kChunks, 4));
  EXPECT_THAT(windows[1].tokens.scored, testing::ElementsAre(0, 1, 0, 1));
}

TEST(Windows, RefusesWhatCannotBeScored) {
  const auto refused = [](const WindowOptions& options, int64_t n) {
    return [=] { make_windows({counted(n)}, options); };
  };
  WindowOptions stride = options_of(WindowProtocol::kStride, 8);
  stride.stride = 9;
  EXPECT_THAT(refused(stride, 100),
              ThrowsMessage<UserError>(HasSubstr("--stride 9 is above --max_length 8")));
  stride.stride = 0;
  EXPECT_THAT(refused(stride, 100), ThrowsMessage<UserError>(HasSubstr("--stride 0")));
  EXPECT_THAT(refused(options_of(WindowProtocol::kChunks, 8), 7),
              ThrowsMessage<UserError>(HasSubstr("7 tokens, fewer than one window of --max_length 8")));
  EXPECT_THAT(refused(options_of(WindowProtocol::kChunks, 1), 7),
              ThrowsMessage<UserError>(HasSubstr("--max_length 1")));
  WindowOptions prefix = options_of(WindowProtocol::kPrefix, 8);
  prefix.context = 8;
  EXPECT_THAT(refused(prefix, 100), ThrowsMessage<UserError>(HasSubstr("--context 8 leaves nothing")));
  prefix.max_length = 0;
  EXPECT_THAT(refused(prefix, 8), ThrowsMessage<UserError>(HasSubstr("'doc' with 8 tokens")));
  prefix.context = 0;
  EXPECT_THAT(refused(prefix, 8), ThrowsMessage<UserError>(HasSubstr("--context")));
}

}  // namespace
}  // namespace kvlab
