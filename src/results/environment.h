// Where a result comes from: machine, compiler, version, date. The host's name is left out: results get
// published.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace kvlab {

nlohmann::ordered_json environment_json();

struct CpuDescription {
  std::string model;
  int cores = 0;                   // physical; as many as logical ones where the system does not say
  int logical = 0;                 // hardware threads
  std::vector<std::string> flags;  // of those that matter for speed
};

// Reads the text of /proc/cpuinfo; what it does not say stays empty.
CpuDescription parse_cpuinfo(std::string_view text);

// Memory that programs can still take without swapping, in bytes; 0 where the system does not say.
int64_t available_memory_bytes();
// Resident memory of this process, in bytes; 0 where the system does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();
// Lets the peak start anew from what is resident now. False when the system does not permit it.
bool reset_peak_resident();
// Gives back to the system what the allocator holds and nobody uses, as far as it can.
void release_free_memory();

}  // namespace kvlab
