#!/usr/bin/env bash
# Does eviction really free memory? Runs 8192 tokens without compression and with knorm(keep=0.25), bf16, and compares the
# difference of the peaks of resident memory (reset after loading) with the difference of kv_bytes.
# Usage: bench/peak_memory.sh TEXT_FILE [RECIPE] [TOKENS]      needs: python3
set -euo pipefail
cd "$(dirname "$0")/.."
text=$1 recipe=${2:-knorm(keep=0.25)} tokens=${3:-8192}
kvlab=build/release/bin/kvlab
for r in none "$recipe"; do
  "$kvlab" score --text "$text" --max_length "$tokens" --dtype bf16 --recipe "$r"
done | python3 -c '
import json, sys
dense, small = (json.loads(line) for line in sys.stdin)
for name, run in (("none", dense), (sys.argv[1], small)):
    print("%-24s kv_bytes %11d  kv_bytes_peak %11d  rss after load %11d  peak %11d  ppl %.3f" % (
        name, run["kv_bytes"], run["kv_bytes_peak"], run["rss_after_load"], run["rss_peak"], run["ppl"]))
saved = dense["rss_peak"] - dense["rss_after_load"] - small["rss_peak"] + small["rss_after_load"]
kv = dense["kv_bytes"] - small["kv_bytes"]
print("peak memory saved %d of %d kv_bytes: %.1f%%" % (saved, kv, 100 * saved / kv))' "$recipe"
