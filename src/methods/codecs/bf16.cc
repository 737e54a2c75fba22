// Keys and values stored as bf16. Bytes per token: 2 x layers x KV heads x head dimension x 2.
#include "cache/codec.h"

namespace kvlab {

extern const CodecInfo kCodecInfo_bf16;
const CodecInfo kCodecInfo_bf16 = {"bf16", "BF16",      "", "bfloat16: half the bytes, 8 bits of mantissa",
                                   {},     DType::kBF16};

}  // namespace kvlab
