// The entry of a libFuzzer program; CMake says which target it calls.
#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kvlab::fuzz::KVLAB_FUZZ_TARGET({data, size});
  return 0;
}
