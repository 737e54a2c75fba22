#include "train/sample_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "results/atomic_file.h"
#include "results/hash.h"

namespace kvlab {

namespace {

constexpr const char* kRestart = "; give --restart to begin anew";

uint64_t hash_of(const void* data, size_t bytes) {
  Hash64 hash;
  hash.add(data, bytes);
  return hash.value();
}

// Writes at a place of a file, which is made if it is missing.
void write_at(const std::filesystem::path& path, const void* data, size_t bytes, int64_t offset) {
  const auto refuse = [&] {
    return UserError(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  };
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) throw refuse();
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = pwrite(file, at, bytes, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const UserError error = refuse();
      close(file);
      throw error;
    }
    at += written;
    offset += written;
    bytes -= static_cast<size_t>(written);
  }
  if (close(file) != 0) throw refuse();
}

}  // namespace

SampleStore::SampleStore(std::filesystem::path folder, const nlohmann::ordered_json& settings,
                         const SampleSizes& sizes, bool restart)
    : folder_(std::move(folder)), sizes_(sizes), hashes_(sizes.layers) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) throw UserError(fmt::format("{} cannot be made: {}", folder_.string(), error.message()));
  const std::string manifest = settings.dump(2) + "\n";
  if (!restart && std::filesystem::exists(folder_ / "manifest.json", error)) {
    resume(manifest);
  } else {
    begin(manifest);
  }
}

void SampleStore::begin(const std::string& manifest) {
  remove();
  std::filesystem::create_directories(folder_);
  write_atomically(folder_ / "manifest.json", manifest);
}

void SampleStore::resume(const std::string& manifest) {
  if (MappedFile((folder_ / "manifest.json").string()).text() != manifest) {
    throw UserError(fmt::format(
        "{} holds samples of a run with another model, text or other settings{}, or another --output_dir",
        folder_.string(), kRestart));
  }
  std::error_code none;
  const auto bytes = std::filesystem::file_size(journal_path(), none);
  if (none) return;
  collected_ = static_cast<int64_t>(bytes / (sizes_.layers * sizeof(uint64_t)));
  if (collected_ > sizes_.passages) {
    throw UserError(fmt::format("{} is damaged: it names {} passages, expected at most {}{}",
                                journal_path().string(), collected_, sizes_.passages, kRestart));
  }
}

int64_t SampleStore::record_bytes() const {
  return int64_t{1} * sizes_.samples *
         (sizes_.hidden * static_cast<int64_t>(sizeof(BF16)) +
          sizes_.heads * static_cast<int64_t>(sizeof(float)));
}

std::filesystem::path SampleStore::layer_path(int layer) const {
  return folder_ / fmt::format("layer_{:04}.samples", layer);
}

std::filesystem::path SampleStore::fit_path(const std::string& settings, int layer) const {
  return folder_ / fmt::format("fit_{:016x}_{:04}.bin", hash_of(settings.data(), settings.size()), layer);
}

void SampleStore::write(int layer, const float* features, const float* targets) {
  std::vector<std::byte> record(static_cast<size_t>(record_bytes()));
  const int64_t values = int64_t{1} * sizes_.samples * sizes_.hidden;
  to_bf16(features, values, reinterpret_cast<BF16*>(record.data()));
  std::memcpy(record.data() + values * sizeof(BF16), targets, sizeof(float) * sizes_.samples * sizes_.heads);
  hashes_[layer] = hash_of(record.data(), record.size());
  write_at(layer_path(layer), record.data(), record.size(), collected_ * record_bytes());
}

void SampleStore::commit() {
  const size_t bytes = hashes_.size() * sizeof(uint64_t);
  write_at(journal_path(), hashes_.data(), bytes, collected_ * static_cast<int64_t>(bytes));
  ++collected_;
}

std::optional<std::vector<float>> SampleStore::read_fit(const std::string& settings, int layer,
                                                        size_t size) const {
  const std::filesystem::path path = fit_path(settings, layer);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const MappedFile file(path.string());
  const size_t bytes = size * sizeof(float);
  uint64_t hash = 0;
  if (file.size() == bytes + sizeof hash) std::memcpy(&hash, file.data() + bytes, sizeof hash);
  if (file.size() != bytes + sizeof hash || hash != hash_of(file.data(), bytes))
    throw UserError(path.string() + " is damaged" + kRestart);
  std::vector<float> values(size);
  std::memcpy(values.data(), file.data(), bytes);
  return values;
}

void SampleStore::write_fit(const std::string& settings, int layer, std::span<const float> values) const {
  const uint64_t hash = hash_of(values.data(), values.size_bytes());
  std::string content(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  content.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  write_atomically(fit_path(settings, layer), content);
}

void SampleStore::remove() {
  std::error_code ignored;
  std::vector<std::filesystem::path> own;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name == "manifest.json" || name == "journal" || name.starts_with("layer_") ||
        name.starts_with("fit_"))
      own.push_back(entry.path());
  }
  for (const auto& path : own) std::filesystem::remove(path, ignored);
  if (std::filesystem::is_empty(folder_, ignored)) std::filesystem::remove(folder_, ignored);
}

LayerSamples::LayerSamples(const SampleStore& store, int layer)
    : sizes_(store.sizes()), record_bytes_(store.record_bytes()), file_(store.layer_path(layer).string()) {
  const MappedFile journal(store.journal_path().string());
  for (int64_t p = 0; p < store.collected(); ++p) {
    uint64_t expected = 0;
    std::memcpy(&expected,
                journal.data() + (p * sizes_.layers + layer) * static_cast<int64_t>(sizeof expected),
                sizeof expected);
    const bool there = file_.size() >= static_cast<size_t>((p + 1) * record_bytes_);
    if (there && hash_of(file_.data() + p * record_bytes_, static_cast<size_t>(record_bytes_)) == expected)
      continue;
    throw UserError(fmt::format("{} is damaged at passage {}{}", file_.path(), p, kRestart));
  }
}

const std::byte* LayerSamples::record(int64_t row) const {
  return file_.data() + row / sizes_.samples * record_bytes_;
}

void LayerSamples::features(int64_t row, float* out) const {
  const auto* from = record(row) + row % sizes_.samples * sizes_.hidden * static_cast<int64_t>(sizeof(BF16));
  to_f32(reinterpret_cast<const BF16*>(from), sizes_.hidden, out);
}

void LayerSamples::targets(int64_t row, float* out) const {
  const auto* from = record(row) +
                     int64_t{1} * sizes_.samples * sizes_.hidden * static_cast<int64_t>(sizeof(BF16)) +
                     row % sizes_.samples * sizes_.heads * static_cast<int64_t>(sizeof(float));
  std::memcpy(out, from, sizeof(float) * sizes_.heads);
}

}  // namespace kvlab
