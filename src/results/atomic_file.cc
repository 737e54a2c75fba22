#include "results/atomic_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include "base/error.h"

namespace kvlab {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw UserError("cannot write " + path.string() + ": " + why);
}

void make_folder(const std::filesystem::path& path) {
  if (!path.has_parent_path()) return;
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) refuse(path, error.message());
}

}  // namespace

void write_atomically(const std::filesystem::path& path, std::string_view content) {
  make_folder(path);
  // The process number keeps two runs that share an output folder from writing into one temporary file.
  const std::filesystem::path part = path.string() + ".part" + std::to_string(getpid());
  std::error_code ignored;
  {
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    file.close();
    if (!file) {
      const std::string why = std::strerror(errno);
      std::filesystem::remove(part, ignored);
      refuse(path, why);
    }
  }
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (!error) return;
  std::filesystem::remove(part, ignored);
  refuse(path, error.message());
}

}  // namespace kvlab
