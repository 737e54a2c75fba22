// Training samples on disk: hidden states with what is to be predicted from them, a file for each layer, so
// that no more than a layer is looked at at a time. Collecting may be interrupted at any time, by a kill as
// well, and goes on with the first passage that is not complete; a passage is complete when the journal has
// its hashes, which also tell damage when a layer is read.
//
// FOLDER/manifest.json           the settings that samples depend on
// FOLDER/layer_NNNN.samples      for each passage: features [samples][hidden] bf16, targets [samples][heads]
// f32 FOLDER/journal                 for each passage: a hash of its part of every layer's file, 64 bits each
// FOLDER/fit_HASH_NNNN.bin       what was fitted to a layer under the settings that HASH names
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "format/mapped_file.h"

namespace kvlab {

struct SampleSizes {
  int layers = 0, hidden = 0, heads = 0;
  int samples = 0;       // of a passage
  int64_t passages = 0;  // when all are collected
};

class SampleStore {
 public:
  // Goes on with what lies in `folder`, or, with `restart` or where nothing lies, begins anew. Throws
  // UserError when what lies there was made under other settings, or the folder cannot be written.
  SampleStore(std::filesystem::path folder, const nlohmann::ordered_json& settings, const SampleSizes& sizes,
              bool restart);

  const SampleSizes& sizes() const { return sizes_; }
  // Passages that are complete: [0, collected()).
  int64_t collected() const { return collected_; }

  // Of the passage collected(): a layer's features [samples][hidden] and targets [samples][heads].
  void write(int layer, const float* features, const float* targets);
  // All layers of the passage collected() are written.
  void commit();

  // A layer's fit, if there is one under these settings. Throws UserError for a damaged file.
  std::optional<std::vector<float>> read_fit(const std::string& settings, int layer, size_t size) const;
  void write_fit(const std::string& settings, int layer, std::span<const float> values) const;

  // Removes the store's files, and the folder if nothing else is in it.
  void remove();

 private:
  friend class LayerSamples;
  int64_t record_bytes() const;  // of a passage in a layer's file
  std::filesystem::path layer_path(int layer) const;
  std::filesystem::path fit_path(const std::string& settings, int layer) const;
  std::filesystem::path journal_path() const { return folder_ / "journal"; }
  void begin(const std::string& manifest);
  void resume(const std::string& manifest);

  std::filesystem::path folder_;
  SampleSizes sizes_;
  int64_t collected_ = 0;
  std::vector<uint64_t> hashes_;  // of the passage in work
};

// One layer's samples, mapped; row r is sample r % samples of passage r / samples.
class LayerSamples {
 public:
  // Checks all complete passages against the journal. Throws UserError naming the file when they differ.
  LayerSamples(const SampleStore& store, int layer);

  int hidden() const { return sizes_.hidden; }
  int heads() const { return sizes_.heads; }
  int64_t rows_of(int64_t passages) const { return passages * sizes_.samples; }
  void features(int64_t row, float* out) const;
  void targets(int64_t row, float* out) const;

 private:
  const std::byte* record(int64_t row) const;

  SampleSizes sizes_;
  int64_t record_bytes_;
  MappedFile file_;
};

}  // namespace kvlab
