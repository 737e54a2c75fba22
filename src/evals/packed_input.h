// The compressed side of an unpacking stream: a buffer that is filled anew when it is used up, and the words
// for what is wrong with it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "evals/byte_stream.h"

namespace kvlab {

class PackedInput {
 public:
  PackedInput(std::unique_ptr<ByteStream> stream, std::string name, std::string format)
      : stream_(std::move(stream)), name_(std::move(name)), format_(std::move(format)), buffer_(kBuffer) {}

  // Only when what fill() gave before is used up. Gives the number of bytes at data(); 0 at the end.
  size_t fill() {
    const size_t count = stream_->read(buffer_.data(), buffer_.size());
    filled_ += static_cast<int64_t>(count);
    ended_ = count == 0;
    return count;
  }
  char* data() { return buffer_.data(); }
  bool ended() const { return ended_; }

  // `unused`: bytes of the buffer behind the place.
  [[noreturn]] void refuse_damage(size_t unused, const std::string& why) const {
    throw UserError(name_ + ": its " + format_ + " data are damaged before byte " +
                    std::to_string(filled_ - static_cast<int64_t>(unused)) + " (" + why +
                    "); copy or download the file anew");
  }
  [[noreturn]] void refuse_cut(int64_t unpacked) const {
    throw UserError(name_ + ": ends at byte " + std::to_string(filled_) + " within its " + format_ +
                    " data, after " + std::to_string(unpacked) +
                    " bytes unpacked: the file was cut off; copy or download it anew");
  }

 private:
  static constexpr size_t kBuffer = size_t{1} << 16;

  std::unique_ptr<ByteStream> stream_;
  std::string name_, format_;
  std::vector<char> buffer_;
  int64_t filled_ = 0;  // bytes read so far
  bool ended_ = false;
};

}  // namespace kvlab
