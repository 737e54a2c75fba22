#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/safetensors.h"

namespace kvlab {

static_assert(std::endian::native == std::endian::little,
              "both file formats are little-endian, as kvlab's reader");

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors) {
  auto header = nlohmann::ordered_json::object();
  uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    uint64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= static_cast<uint64_t>(size);
    KVLAB_CHECK(elements == tensor.values.size());
    KVLAB_CHECK(!header.contains(tensor.name));
    const uint64_t end = offset + elements * sizeof(float);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the format aligns the data so
  const uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!file) throw UserError(fmt::format("cannot write {}", path));
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const NamedTensor& tensor : tensors) {
    file.write(reinterpret_cast<const char*>(tensor.values.data()),
               static_cast<std::streamsize>(tensor.values.size() * sizeof(float)));
  }
  if (!file.flush()) throw UserError(fmt::format("cannot write {}: is the disk full?", path));
}

}  // namespace kvlab
