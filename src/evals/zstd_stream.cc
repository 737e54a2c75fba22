// Zstandard (RFC 8878), unpacked by libzstd, which goes from frame to frame and passes over skippable ones.
#include <zstd.h>

#include "evals/packed_input.h"

namespace kvlab {

namespace {

class ZstdStream : public ByteStream {
 public:
  ZstdStream(std::unique_ptr<ByteStream> packed, std::string name)
      : input_(std::move(packed), std::move(name), "Zstandard"), zstd_(ZSTD_createDStream()) {
    if (zstd_ == nullptr) throw std::bad_alloc();
  }
  ~ZstdStream() override { ZSTD_freeDStream(zstd_); }
  ZstdStream(const ZstdStream&) = delete;
  ZstdStream& operator=(const ZstdStream&) = delete;

  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer room{out, size, 0};
    while (room.pos == 0 && !ended_) advance(room);
    unpacked_ += static_cast<int64_t>(room.pos);
    return room.pos;
  }

 private:
  void advance(ZSTD_outBuffer& room) {
    if (packed_.pos == packed_.size && !input_.ended()) packed_ = {input_.data(), input_.fill(), 0};
    const bool nothing_left = packed_.pos == packed_.size && input_.ended();
    if (nothing_left && frame_done_) {
      ended_ = true;
      return;
    }
    const size_t status = ZSTD_decompressStream(zstd_, &room, &packed_);
    if (ZSTD_isError(status)) input_.refuse_damage(packed_.size - packed_.pos, ZSTD_getErrorName(status));
    frame_done_ = status == 0;
    if (nothing_left && !frame_done_ && room.pos == 0) input_.refuse_cut(unpacked_);
  }

  PackedInput input_;
  ZSTD_DStream* zstd_;
  ZSTD_inBuffer packed_{nullptr, 0, 0};
  int64_t unpacked_ = 0;
  bool frame_done_ = true, ended_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> unpack_zstd(std::unique_ptr<ByteStream> packed, std::string name) {
  return std::make_unique<ZstdStream>(std::move(packed), std::move(name));
}

}  // namespace kvlab
