// Keys and values stored as f32. Bytes per token: 2 x layers x KV heads x head dimension x 4.
#include "cache/codec.h"

namespace kvlab {

extern const CodecInfo kCodecInfo_f32;
const CodecInfo kCodecInfo_f32 = {"f32", "F32", "", "32-bit floats, exact", {}, DType::kF32};

}  // namespace kvlab
