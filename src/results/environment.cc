#include "results/environment.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>

#include "base/threads.h"

#ifndef KVLAB_VERSION
#define KVLAB_VERSION "unknown"
#endif
#ifndef KVLAB_BUILD_TYPE
#define KVLAB_BUILD_TYPE "unknown"
#endif

namespace kvlab {

namespace {

constexpr std::array kFlagsOfInterest = {"avx2",        "fma",         "f16c",     "avx512f", "avx512bw",
                                         "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd",   "bf16"};

std::string read_text(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\"");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\"\r\n") - begin + 1);
}

// Calls back with key and value of every line "key <separator> value".
template <typename Callback>
void for_each_pair(std::string_view text, char separator, Callback&& callback) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const size_t at = line.find(separator);
    if (at != std::string_view::npos) callback(trim(line.substr(0, at)), trim(line.substr(at + 1)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string value_of(std::string_view text, char separator, std::string_view wanted) {
  std::string found;
  for_each_pair(text, separator, [&](std::string_view key, std::string_view value) {
    if (key == wanted && found.empty()) found = value;
  });
  return found;
}

// Lines like "VmHWM:   1234 kB".
int64_t kilobytes_of(std::string_view text, std::string_view key) {
  const std::string value = value_of(text, ':', key);
  int64_t kilobytes = 0;
  std::from_chars(value.data(), value.data() + value.size(), kilobytes);
  return kilobytes * 1024;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string system_text() {
  std::string name = value_of(read_text("/etc/os-release"), '=', "PRETTY_NAME");
  utsname system{};
  if (uname(&system) != 0) return name;
  const std::string kernel = std::string(system.sysname) + " " + system.release + " " + system.machine;
  return name.empty() ? kernel : name + ", " + kernel;
}

std::string compiler_text() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

}  // namespace

CpuDescription parse_cpuinfo(std::string_view text) {
  CpuDescription cpu;
  std::set<std::string> cores, present;
  std::string package;
  for_each_pair(text, ':', [&](std::string_view key, std::string_view value) {
    if (key == "processor") ++cpu.logical;
    if (key == "physical id") package = value;
    if (key == "core id") cores.insert(package + "/" + std::string(value));
    if (key == "model name" && cpu.model.empty()) cpu.model = value;
    if ((key == "flags" || key == "Features") && present.empty()) {
      std::istringstream words{std::string(value)};
      for (std::string word; words >> word;) present.insert(word);
    }
  });
  cpu.cores = cores.empty() ? cpu.logical : static_cast<int>(cores.size());
  for (const char* flag : kFlagsOfInterest) {
    if (present.contains(flag)) cpu.flags.emplace_back(flag);
  }
  return cpu;
}

nlohmann::ordered_json environment_json() {
  const CpuDescription cpu = parse_cpuinfo(read_text("/proc/cpuinfo"));
  return {{"kvlab_version", KVLAB_VERSION},
          {"date", utc_now()},
          {"cpu", cpu.model},
          {"cores", cpu.cores},
          {"hardware_threads", cpu.logical},
          {"threads", thread_count()},
          {"cpu_flags", cpu.flags},
          {"memory_bytes", kilobytes_of(read_text("/proc/meminfo"), "MemTotal")},
          {"os", system_text()},
          {"compiler", compiler_text()},
          {"build_type", KVLAB_BUILD_TYPE}};
}

int64_t available_memory_bytes() {
  return kilobytes_of(read_text("/proc/meminfo"), "MemAvailable");
}
int64_t resident_bytes() {
  return kilobytes_of(read_text("/proc/self/status"), "VmRSS");
}
int64_t peak_resident_bytes() {
  return kilobytes_of(read_text("/proc/self/status"), "VmHWM");
}

bool reset_peak_resident() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";  // 5 resets the high-water mark only (man 5 proc)
  file.close();
  return !file.fail();
}

void release_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace kvlab
