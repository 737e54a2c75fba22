#include "results/environment.h"

#include <sys/mman.h>

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "base/error.h"
#include "results/hash.h"
#include "support/temp_folder.h"

namespace kvlab {
namespace {

TEST(Environment, ReadsTheProcessor) {
  const CpuDescription cpu = parse_cpuinfo(
      "processor\t: 0\nmodel name\t: Fast CPU @ 3: GHz\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: sse "
      "avx2 avx512f\n\n"
      "processor\t: 1\nmodel name\t: Fast CPU @ 3: GHz\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: sse "
      "avx2\n");
  EXPECT_EQ(cpu.model, "Fast CPU @ 3: GHz");
  EXPECT_EQ(cpu.cores, 1);
  EXPECT_EQ(cpu.logical, 2);
  EXPECT_THAT(cpu.flags, testing::ElementsAre("avx2", "avx512f"));
}

TEST(Environment, TakesDamagedTextsAsTheyCome) {
  for (const char* text : {"", "\n\n", ":", "processor", "flags:", "core id:\nflags: \n:::"}) {
    EXPECT_TRUE(parse_cpuinfo(text).model.empty()) << text;
  }
}

TEST(Environment, SaysWhatItShouldAndNotTheHost) {
  const nlohmann::ordered_json json = environment_json();
  EXPECT_GT(json["memory_bytes"], 0);
  EXPECT_GE(json["threads"], 1);
  EXPECT_NE(json["kvlab_version"], "unknown");
  EXPECT_THAT(json["date"].get<std::string>(), testing::MatchesRegex("....-..-..T..:..:..Z"));
  for (const auto& item : json.items()) EXPECT_EQ(item.key().find("host"), std::string::npos);
}

TEST(Memory, PeakFollowsAndCanBeReset) {
  constexpr size_t kBytes = 64 << 20;
  {
    // Straight from the system: the sanitizers keep what is freed for a while.
    void* block = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(block, MAP_FAILED);
    std::memset(block, 1, kBytes);
    EXPECT_GE(resident_bytes(), static_cast<int64_t>(kBytes));
    munmap(block, kBytes);
  }
  const int64_t peak = peak_resident_bytes();
  EXPECT_GE(peak, static_cast<int64_t>(kBytes));
  if (!reset_peak_resident()) GTEST_SKIP() << "not permitted here";
  EXPECT_LT(peak_resident_bytes(), peak);
}

TEST(Hash, DoesNotDependOnHowTheDataComes) {
  std::string data(1000, 'x');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7);
  Hash64 whole, parts;
  whole.add(data.data(), data.size());
  for (size_t at = 0, step = 0; at < data.size(); at += step) {
    step = std::min<size_t>(data.size() - at, at % 13 + 1);
    parts.add(data.data() + at, step);
  }
  EXPECT_EQ(whole.hex(), parts.hex());
  EXPECT_EQ(whole.hex().size(), 16u);
  TempFolder folder;
  EXPECT_EQ(hash_file(folder.write("data", data)), whole.hex());
}

TEST(Hash, StaysTheSameForever) {
  // Published results carry these hashes.
  EXPECT_EQ(hash_tokens(std::vector<int32_t>{}), Hash64().hex());
  EXPECT_EQ(hash_tokens(std::vector<int32_t>{1, 2, 3}), "6ba3b81c9587494d");
}

TEST(Hash, SeesEveryBitAndTheLength) {
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  const std::string hash = hash_tokens(tokens);
  tokens[0] ^= INT32_MIN;
  tokens[2] ^= INT32_MIN;
  EXPECT_NE(hash_tokens(tokens), hash);
  EXPECT_NE(hash_tokens(std::vector<int32_t>{0}), hash_tokens(std::vector<int32_t>{0, 0}));
  EXPECT_NE(hash_tokens(std::vector<int32_t>{1, 0}), hash_tokens(std::vector<int32_t>{1}));
}

TEST(Hash, RefusesWhatItCannotRead) {
  EXPECT_THROW(hash_file("/nonexistent/file"), UserError);
  EXPECT_THROW(hash_file("/tmp"), UserError);
}

TEST(Hash, IsFast) {
  const std::vector<int32_t> tokens(25 << 20, 7);  // 100 MB
  const auto start = std::chrono::steady_clock::now();
  hash_tokens(tokens);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  RecordProperty("seconds", std::to_string(seconds.count()));
  EXPECT_LT(seconds.count(), 2) << "0.05 s are usual; the bound leaves room for sanitizers and busy machines";
}

}  // namespace
}  // namespace kvlab
