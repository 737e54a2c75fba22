#include "format/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace kvlab {
namespace {

std::string system_text(int error) {
  return std::generic_category().message(error);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a pipe by mistake must give an error below, not wait for its writer.
  const Descriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw UserError(fmt::format("cannot open {}: {}", path_, system_text(errno)));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) {
    throw UserError(fmt::format("cannot read {}: {}", path_, system_text(errno)));
  }
  if (S_ISDIR(info.st_mode)) throw UserError(fmt::format("{} is a folder, expected a file", path_));
  if (!S_ISREG(info.st_mode)) throw UserError(fmt::format("{} is not a regular file", path_));
  if (info.st_size <= 0) throw UserError(fmt::format("{} is empty", path_));
  size_ = static_cast<size_t>(info.st_size);
  void* address = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw UserError(fmt::format("cannot map {}: {}", path_, system_text(errno)));
  data_ = static_cast<const std::byte*>(address);
}

void MappedFile::release() const {
  // Refused at worst: then the pages stay.
  madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace kvlab
