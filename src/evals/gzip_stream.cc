// gzip (RFC 1952), unpacked by zlib.
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "evals/packed_input.h"

namespace kvlab {

namespace {

class GzipStream : public ByteStream {
 public:
  GzipStream(std::unique_ptr<ByteStream> packed, std::string name)
      : input_(std::move(packed), std::move(name), "gzip") {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    KVLAB_CHECK(inflateInit2(&zlib_, kGzipOnly) == Z_OK);
  }
  ~GzipStream() override { inflateEnd(&zlib_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  size_t read(char* out, size_t size) override {
    const auto room = static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<uInt>::max()));
    zlib_.next_out = reinterpret_cast<Bytef*>(out);
    zlib_.avail_out = room;
    while (!ended_ && zlib_.avail_out == room) advance();
    const size_t count = room - zlib_.avail_out;
    unpacked_ += static_cast<int64_t>(count);
    return count;
  }

 private:
  void advance() {
    if (zlib_.avail_in == 0 && !input_.ended()) {
      zlib_.avail_in = static_cast<uInt>(input_.fill());
      zlib_.next_in = reinterpret_cast<Bytef*>(input_.data());
    }
    if (in_member_ || begin_member()) unpack();
  }

  // Members follow one another, perhaps with zeros behind the last one (tape blocks). False: none begins
  // here.
  bool begin_member() {
    while (members_ > 0 && zlib_.avail_in > 0 && *zlib_.next_in == 0) {
      ++zlib_.next_in;
      --zlib_.avail_in;
    }
    if (zlib_.avail_in == 0) {
      ended_ = input_.ended();
      return false;
    }
    ++members_;
    in_member_ = true;
    inflateReset(&zlib_);
    return true;
  }

  void unpack() {
    const int status = inflate(&zlib_, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      in_member_ = false;
    } else if (status == Z_BUF_ERROR) {  // it needs more than there is
      if (input_.ended()) input_.refuse_cut(unpacked_);
    } else if (status == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (status != Z_OK) {
      input_.refuse_damage(zlib_.avail_in, zlib_.msg ? zlib_.msg : "not understood");
    }
  }

  PackedInput input_;
  z_stream zlib_{};
  int64_t members_ = 0, unpacked_ = 0;
  bool in_member_ = false, ended_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> unpack_gzip(std::unique_ptr<ByteStream> packed, std::string name) {
  return std::make_unique<GzipStream>(std::move(packed), std::move(name));
}

}  // namespace kvlab
