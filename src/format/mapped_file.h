// A file mapped read-only into memory for as long as the object lives.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvlab {

// Safe for reading from many threads. The file must not be shortened meanwhile: the system then ends the
// program.
class MappedFile {
 public:
  // Throws UserError naming the file when it is missing, empty, a folder, not a regular file or unreadable.
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }  // bytes, at least 1
  // Gives back the memory of pages that were read; they are read from the file again when touched.
  void release() const;
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace kvlab
