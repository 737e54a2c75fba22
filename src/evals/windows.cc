#include "evals/windows.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

namespace {

// Collects windows until there are as many as wanted.
class Windows {
 public:
  explicit Windows(int64_t most) : most_(most) {}
  bool full() const { return most_ > 0 && static_cast<int64_t>(list_.size()) >= most_; }

  // Tokens [first, end) of the document; scored are those at [scored, end) that its mask does not leave out.
  void add(const TokenDocument& document, int64_t first, int64_t end, int64_t scored) {
    Window window;
    window.first = first;
    window.tokens.index = static_cast<int64_t>(list_.size());
    window.tokens.id = document.id;
    window.tokens.tokens.assign(document.tokens.begin() + first, document.tokens.begin() + end);
    window.tokens.scored.assign(document.scored.begin() + first, document.scored.begin() + end);
    // Nothing stands before a window's first token that could predict it.
    const int64_t unscored = std::max<int64_t>(1, scored - first);
    std::fill_n(window.tokens.scored.begin(), unscored, uint8_t{0});
    list_.push_back(std::move(window));
  }
  Window& last() { return list_.back(); }
  std::vector<Window> take() { return std::move(list_); }

 private:
  int64_t most_;
  std::vector<Window> list_;
};

int64_t length(const TokenDocument& document) {
  return static_cast<int64_t>(document.tokens.size());
}

// The pieces of one document under stream and prefix. A rest with nothing to score is left out.
void cut_document(const TokenDocument& document, const WindowOptions& options, Windows& windows) {
  const int64_t n = length(document);
  const int64_t piece = options.max_length > 0 ? options.max_length : n;
  const bool prefix = options.protocol == WindowProtocol::kPrefix;
  const int64_t unscored = prefix ? options.context : 1;
  if (prefix && n <= options.context) {
    throw UserError("--context " + std::to_string(options.context) +
                    " leaves nothing to score of document '" + document.id + "' with " + std::to_string(n) +
                    " tokens");
  }
  for (int64_t first = 0; first < n && !windows.full(); first += piece) {
    const int64_t end = std::min(n, first + piece);
    if (end - first > unscored) windows.add(document, first, end, first + unscored);
  }
}

// As in Hugging Face's guide to perplexity: the last window may be shorter, and each token is scored once
// (but for those at the start of a window when stride = max_length).
void slide(const TokenDocument& text, const WindowOptions& options, Windows& windows) {
  const int64_t n = length(text);
  int64_t scored_until = 0;
  for (int64_t first = 0; scored_until < n && !windows.full(); first += options.stride) {
    const int64_t end = std::min(n, first + options.max_length);
    if (end - first > 1) windows.add(text, first, end, scored_until);
    scored_until = end;
  }
}

void tile(const TokenDocument& text, const WindowOptions& options, Windows& windows) {
  const int64_t n = length(text), size = options.max_length;
  if (n < size) {
    throw UserError("the text has " + std::to_string(n) + " tokens, fewer than one window of --max_length " +
                    std::to_string(size));
  }
  const bool llamacpp = options.convention == ChunkConvention::kLlamaCpp;
  for (int64_t first = 0; first + size <= n && !windows.full(); first += size) {
    windows.add(text, first, first + size, first + (llamacpp ? size / 2 + 1 : 1));
    if (llamacpp && options.chunk_bos) windows.last().tokens.tokens[0] = *options.chunk_bos;
  }
}

[[noreturn]] void refuse(const char* flag, int64_t value, const std::string& why) {
  throw UserError(std::string(flag) + " " + std::to_string(value) + " " + why);
}

}  // namespace

WindowProtocol parse_window_protocol(const std::string& name) {
  if (name == "stream") return WindowProtocol::kStream;
  if (name == "prefix") return WindowProtocol::kPrefix;
  if (name == "stride") return WindowProtocol::kStride;
  if (name == "chunks") return WindowProtocol::kChunks;
  throw UserError("--protocol " + name + " is not known (expected stream, prefix, stride or chunks)");
}

ChunkConvention parse_chunk_convention(const std::string& name) {
  if (name == "gptq") return ChunkConvention::kGptq;
  if (name == "llamacpp") return ChunkConvention::kLlamaCpp;
  throw UserError("--chunk_convention " + name + " is not known (expected gptq or llamacpp)");
}

bool joins_documents(WindowProtocol protocol) {
  return protocol == WindowProtocol::kStride || protocol == WindowProtocol::kChunks;
}

void check_window_options(const WindowOptions& o) {
  if (o.max_length < 0) refuse("--max_length", o.max_length, "is out of range (expected 0 or more)");
  if (o.max_samples < 0) refuse("--max_samples", o.max_samples, "is out of range (expected 0 or more)");
  if (joins_documents(o.protocol) || o.max_length > 0) {
    if (o.max_length < 2)
      refuse("--max_length", o.max_length, "leaves nothing to score (expected 2 or more)");
  }
  if (o.protocol == WindowProtocol::kChunks && o.convention == ChunkConvention::kLlamaCpp && o.max_length < 3)
    refuse("--max_length", o.max_length, "leaves nothing to score (expected 3 or more with llamacpp)");
  if (o.protocol == WindowProtocol::kStride) {
    if (o.stride < 1) refuse("--stride", o.stride, "is out of range (expected 1 or more)");
    if (o.stride > o.max_length)
      refuse(
          "--stride", o.stride,
          "is above --max_length " + std::to_string(o.max_length) + ": tokens between windows would be lost");
  }
  if (o.protocol == WindowProtocol::kPrefix) {
    if (o.context < 1)
      refuse("--context (needed by --protocol prefix)", o.context, "is out of range (expected 1 or more)");
    if (o.max_length > 0 && o.context >= o.max_length)
      refuse("--context", o.context,
             "leaves nothing to score of --max_length " + std::to_string(o.max_length) + " tokens");
  }
}

int64_t tokens_needed(const WindowOptions& o, int64_t max_tokens) {
  if (o.max_samples == 0 || o.max_length == 0) return max_tokens;
  const int64_t step = o.protocol == WindowProtocol::kStride ? o.stride : o.max_length;
  int64_t needed = 0;
  const bool too_many = __builtin_mul_overflow(step, o.max_samples - 1, &needed) ||
                        __builtin_add_overflow(needed, o.max_length, &needed);
  if (too_many) return max_tokens;
  return max_tokens > 0 ? std::min(max_tokens, needed) : needed;
}

std::vector<Window> make_windows(const std::vector<TokenDocument>& documents, const WindowOptions& options) {
  check_window_options(options);
  KVLAB_CHECK(!joins_documents(options.protocol) || documents.size() == 1);
  Windows windows(options.max_samples);
  for (const TokenDocument& document : documents) {
    if (windows.full()) break;
    if (options.protocol == WindowProtocol::kStride) {
      slide(document, options, windows);
    } else if (options.protocol == WindowProtocol::kChunks) {
      tile(document, options, windows);
    } else {
      cut_document(document, options, windows);
    }
  }
  return windows.take();
}

Protocol session_protocol(const WindowOptions& options) {
  if (options.protocol == WindowProtocol::kPrefix) return {Protocol::Kind::kPrefix, options.context};
  return {};
}

}  // namespace kvlab
