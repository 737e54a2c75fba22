// Writing a safetensors file whose tensors come in pieces.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "format/safetensors.h"

namespace kvlab {

namespace {

const char* spelling(SafetensorsWriter::Type type) {
  return type == SafetensorsWriter::Type::kF32 ? "F32" : type == SafetensorsWriter::Type::kI32 ? "I32" : "U8";
}

}  // namespace

int64_t SafetensorsWriter::Entry::elements() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

SafetensorsWriter::SafetensorsWriter(std::string path, const std::vector<Entry>& entries,
                                     const std::map<std::string, std::string>& metadata)
    // The process number keeps two runs apart that write the same file.
    : path_(std::move(path)), part_(path_ + ".part" + std::to_string(getpid())) {
  auto header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const Entry& entry : entries) {
    const int64_t end = offset + entry.bytes();
    header[entry.name] = {
        {"dtype", spelling(entry.type)}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    KVLAB_CHECK(places_.emplace(entry.name, Place{entry, offset, 0}).second);
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the format aligns the data so
  const uint64_t length = text.size();
  for (auto& [name, place] : places_) place.begin += static_cast<int64_t>(sizeof length + length);

  file_ = open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file_ < 0) refuse();
  put(&length, sizeof length, 0);
  put(text.data(), static_cast<int64_t>(length), sizeof length);
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ >= 0) close(file_);
  if (!part_.empty()) std::remove(part_.c_str());
}

void SafetensorsWriter::refuse() const {
  throw UserError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
}

void SafetensorsWriter::put(const void* data, int64_t bytes, int64_t offset) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = pwrite(file_, next, static_cast<size_t>(bytes), offset);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) refuse();
    next += done;
    offset += done;
    bytes -= done;
  }
}

void SafetensorsWriter::write_bytes(const std::string& tensor, Type type, int64_t first, const void* data,
                                    int64_t count) {
  Place& place = places_.at(tensor);
  KVLAB_CHECK(place.entry.type == type && first >= 0 && first + count <= place.entry.elements());
  const int64_t size = type == Type::kU8 ? 1 : 4;
  put(data, count * size, place.begin + first * size);
  place.written += count;
}

void SafetensorsWriter::write(const std::string& tensor, int64_t first, std::span<const float> values) {
  write_bytes(tensor, Type::kF32, first, values.data(), static_cast<int64_t>(values.size()));
}
void SafetensorsWriter::write(const std::string& tensor, int64_t first, std::span<const int32_t> values) {
  write_bytes(tensor, Type::kI32, first, values.data(), static_cast<int64_t>(values.size()));
}
void SafetensorsWriter::write(const std::string& tensor, int64_t first, std::span<const uint8_t> values) {
  write_bytes(tensor, Type::kU8, first, values.data(), static_cast<int64_t>(values.size()));
}

void SafetensorsWriter::finish() {
  for (const auto& [name, place] : places_) KVLAB_CHECK(place.written == place.entry.elements());
  const int file = std::exchange(file_, -1);
  if (close(file) != 0) refuse();
  if (std::rename(part_.c_str(), path_.c_str()) != 0) refuse();
  part_.clear();
}

}  // namespace kvlab
