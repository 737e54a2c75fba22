// The bytes of a data file, one after the other, unpacked on the way where the file is compressed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

namespace kvlab {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Writes up to `size` bytes (> 0) to `out` and says how many; 0 at the end only. Throws UserError naming
  // the file and the place in it.
  virtual size_t read(char* out, size_t size) = 0;
};

// Opens a file for reading from its start. gzip and Zstandard, of several members or frames too, are told by
// their first bytes, whatever the file is called. Throws UserError for what cannot be read, and for formats
// that are no text (archives, other compressions, Parquet), with the way to make text of them.
std::unique_ptr<ByteStream> open_byte_stream(const std::filesystem::path& path);

// What stands behind open_byte_stream(); `name` is the file's, for messages.
std::unique_ptr<ByteStream> unpack_gzip(std::unique_ptr<ByteStream> packed, std::string name);
std::unique_ptr<ByteStream> unpack_zstd(std::unique_ptr<ByteStream> packed, std::string name);

// Up to `size` bytes: fewer only when the stream ends.
size_t read_fully(ByteStream& stream, char* out, size_t size);

}  // namespace kvlab
