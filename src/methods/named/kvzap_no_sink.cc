// KVzap as published: its threshold protects the window only, never the first tokens.
#include "cache/recipe.h"

namespace kvlab {

extern const NamedInfo kNamedInfo_kvzap_no_sink;
const NamedInfo kNamedInfo_kvzap_no_sink = {
    "kvzap_no_sink", "KVzap (no sinks)",
    "KVzap: Fast, Adaptive, and Faithful KV Cache Pruning, arXiv:2601.07891",
    "KVzap without protected first tokens", "kvzap(sinks=0)"};

}  // namespace kvlab
