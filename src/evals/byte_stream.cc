#include "evals/byte_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "evals/data_names.h"

namespace kvlab {

namespace {

using namespace std::string_view_literals;

constexpr size_t kHead = 16;  // bytes that tell the formats apart

class FileStream : public ByteStream {
 public:
  explicit FileStream(const std::filesystem::path& path) : name_(path.string()) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) throw UserError(name_ + ": is a folder, expected a file");
    file_.open(path, std::ios::binary);
    if (!file_) throw UserError("cannot read " + name_ + ": " + std::strerror(errno));
    char head[kHead];
    head_.assign(head, read_file(head, kHead));
  }

  // The first bytes, which read() gives as well.
  std::string_view head() const { return head_; }

  size_t read(char* out, size_t size) override {
    if (from_head_ == head_.size()) return read_file(out, size);
    const size_t count = head_.copy(out, size, from_head_);
    from_head_ += count;
    return count;
  }

 private:
  size_t read_file(char* out, size_t size) {
    file_.read(out, static_cast<std::streamsize>(size));
    if (file_.bad()) throw UserError("cannot read all of " + name_ + ": " + std::strerror(errno));
    return static_cast<size_t>(file_.gcount());
  }

  std::string name_;
  std::ifstream file_;
  std::string head_;
  size_t from_head_ = 0;  // bytes of it that were given
};

bool is_zstd(std::string_view head) {
  if (head.starts_with("\x28\xb5\x2f\xfd"sv)) return true;
  // A skippable frame may come first.
  return head.size() >= 4 && (static_cast<unsigned char>(head[0]) & 0xf0) == 0x50 &&
         head.substr(1, 3) == "\x2a\x4d\x18"sv;
}

struct Refused {
  std::string_view magic;
  const char* why;
};

constexpr Refused kRefused[] = {
    {"\xfd\x37zXZ\0"sv, "is compressed with xz; unpack it first (xz -d)"},
    {"BZh91AY&SY"sv, "is compressed with bzip2; unpack it first (bzip2 -d)"},
    {"\x04\x22\x4d\x18"sv, "is compressed with lz4; unpack it first (lz4 -d)"},
    {"PK\x03\x04"sv, "is a zip archive; unpack it first (unzip)"},
    {"7z\xbc\xaf\x27\x1c"sv, "is a 7z archive; unpack it first (7z x)"},
    {"PAR1\x15"sv, nullptr},
};

// What is no text, and would be scored as if it were.
void refuse_other_formats(const std::filesystem::path& path, std::string_view head) {
  if (data_name(path).kind == DataKind::kColumns) throw UserError(columns_refusal(path));
  if (data_name(path).kind == DataKind::kArchive)
    throw UserError(path.string() + ": is a tar archive; unpack it first (tar xf)");
  for (const Refused& format : kRefused) {
    if (!head.starts_with(format.magic)) continue;
    throw UserError(format.why ? path.string() + ": " + format.why : columns_refusal(path));
  }
}

}  // namespace

std::unique_ptr<ByteStream> open_byte_stream(const std::filesystem::path& path) {
  auto file = std::make_unique<FileStream>(path);
  const std::string_view head = file->head();
  refuse_other_formats(path, head);
  if (head.starts_with("\x1f\x8b"sv)) return unpack_gzip(std::move(file), path.string());
  if (is_zstd(head)) return unpack_zstd(std::move(file), path.string());
  return file;
}

size_t read_fully(ByteStream& stream, char* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const size_t count = stream.read(out + done, size - done);
    if (count == 0) break;
    done += count;
  }
  return done;
}

}  // namespace kvlab
