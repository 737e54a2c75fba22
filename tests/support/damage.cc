#include "support/damage.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "base/random.h"
#include "models/config.h"

namespace kvlab::testing {

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.flush()) << path;
}

std::string error_text(const std::function<void()>& use) {
  try {
    use();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

void read_all(const std::string& path) {
  const ModelFiles files = open_model(path);
  for (const std::string& name : files.weights->names()) {
    files.weights->read(name, files.weights->shape(name));
  }
}

bool refuses(const std::function<void()>& use, const std::string& name, const std::string& what) {
  try {
    use();
    return false;
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << what << ": " << error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": not a UserError: " << error.what();
  }
  return true;
}

DamageCounts truncate_everywhere(const std::string& bytes, const std::string& path, int cases,
                                 const std::function<void()>& use) {
  const std::string name = std::filesystem::path(path).filename().string();
  DamageCounts counts;
  const size_t step = std::max<size_t>(1, bytes.size() / static_cast<size_t>(cases));
  for (size_t length = 0; length < bytes.size(); length += step, ++counts.cases) {
    write_bytes(path, bytes.substr(0, length));
    const bool refused = refuses(use, name, fmt::format("cut to {} bytes", length));
    EXPECT_TRUE(refused) << "cut to " << length << " of " << bytes.size() << " bytes, and read";
    counts.refused += refused;
  }
  return counts;
}

DamageCounts flip_bytes(const std::string& bytes, const std::string& path, size_t reach, int cases,
                        uint64_t seed, const std::function<void()>& use, std::string name) {
  if (name.empty()) name = std::filesystem::path(path).filename().string();
  DamageCounts counts;
  uint64_t state = mix64(seed);
  const auto random = [&](uint64_t bound) { return (state = mix64(state)) % bound; };
  for (; counts.cases < cases; ++counts.cases) {
    std::string damaged = bytes;
    std::string what = "changed";
    for (uint64_t left = 1 + random(4); left > 0; --left) {
      const size_t place = random(std::min(reach, bytes.size()));
      damaged[place] = static_cast<char>(damaged[place] ^ static_cast<char>(1 + random(255)));
      what += fmt::format(" byte {}", place);
    }
    write_bytes(path, damaged);
    counts.refused += refuses(use, name, what);
  }
  return counts;
}

}  // namespace kvlab::testing
