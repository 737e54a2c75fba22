#include "engine/text_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace kvlab {

namespace {

// Where the stop string begins that is complete first; npos: none is. Of those that end together the longest.
size_t find_stop(const std::string& text, const std::vector<std::string>& stop) {
  size_t first_begin = std::string::npos, first_end = std::string::npos;
  for (const std::string& candidate : stop) {
    const size_t begin = text.find(candidate);
    if (begin == std::string::npos) continue;
    const size_t end = begin + candidate.size();
    if (end < first_end || (end == first_end && begin < first_begin)) {
      first_begin = begin;
      first_end = end;
    }
  }
  return first_begin;
}

// How many bytes at the end of `text` a stop string may begin with.
size_t possible_start(const std::string& text, const std::vector<std::string>& stop) {
  size_t longest = 0;
  for (const std::string& candidate : stop) {
    for (size_t n = std::min(text.size(), candidate.size() - 1); n > longest; --n) {
      if (text.compare(text.size() - n, n, candidate, 0, n) == 0) longest = n;
    }
  }
  return longest;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop)
    : tokenizer_(tokenizer), stop_(std::move(stop)) {
  for (const std::string& candidate : stop_) {
    if (candidate.empty()) throw UserError("a stop string is empty (expected at least one character)");
  }
}

std::string TextStream::push(int32_t id) {
  // All ids anew: a decoder may write a token in the light of its neighbours. Beside running the model over a
  // token these look-ups are nothing.
  ids_.push_back(id);
  const std::string bytes = tokenizer_.decode(ids_, false);
  const size_t known = std::min(decoded_, bytes.size());
  decoded_ = bytes.size();
  return release(repair_.push(std::string_view(bytes).substr(known)));
}

std::string TextStream::finish() {
  const std::string text = release(repair_.finish());
  return text + release_all();
}

std::string TextStream::release(const std::string& more) {
  if (stopped_) return "";
  held_ += more;
  const size_t found = find_stop(held_, stop_);
  if (found != std::string::npos) {
    stopped_ = true;
    held_.resize(found);
    return release_all();
  }
  const size_t ready = held_.size() - possible_start(held_, stop_);
  const std::string text = held_.substr(0, ready);
  held_.erase(0, ready);
  return text;
}

std::string TextStream::release_all() {
  return std::exchange(held_, "");
}

}  // namespace kvlab
