#!/usr/bin/env bash
# Does generation under a recipe do what scoring the same tokens does? Writes TOKENS new tokens, then scores prompt and
# new tokens by teacher forcing: every new token must be the likeliest in its place, the same entries must be live, and,
# for a recipe of fixed size, half of the tokens must take the same memory as all of them.
# Usage: bench/generate_check.sh [RECIPE] [TOKENS] [MORE FLAGS, as --threads 1]      needs: python3
set -euo pipefail
cd "$(dirname "$0")/.."
recipe=${1:-h2o(size=256)} tokens=${2:-1000}
flags=("${@:3}" --recipe "$recipe" --dtype f32 --live)
kvlab=build/release/bin/kvlab
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

write() {
  "$kvlab" generate --prompt 'Once upon a time, in a kingdom by the sea, there lived a' --max_new_tokens "$1" \
    --ignore_eos --json "${flags[@]}"
}
write "$tokens" >"$folder/all.json"
write $((tokens / 2)) >"$folder/half.json"
python3 - "$folder" <<'PY'
import json, sys
made = json.load(open(sys.argv[1] + "/all.json"))
json.dump(made["prompt_ids"] + made["ids"], open(sys.argv[1] + "/ids.json", "w"))
PY
"$kvlab" score --ids "$folder/ids.json" --argmax "${flags[@]}" >"$folder/score.json"
python3 - "$folder" "$recipe" <<'PY'
import json, sys
made, half, scored = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("all", "half", "score"))
new = made["new_tokens"]
argmax = scored["argmax"][-new:]
same = sum(a == b for a, b in zip(made["ids"], argmax))
live = made["live_at_end"] == scored["live_at_end"]
entries = [len(head) for layer in made["live_at_end"] for head in layer]
print(f"recipe {sys.argv[2]}: {made['prompt_tokens']} prompt tokens, {new} new tokens")
print(f"new tokens that teacher forcing gives as well: {same} of {new}")
print(f"live entries at the end equal: {live} (per head {min(entries)} to {max(entries)}, of {made['prompt_tokens'] + new})")
print(f"kv_bytes after {half['new_tokens']} and {new} new tokens: {half['kv_bytes']}, {made['kv_bytes']}"
      f" (peak {half['kv_bytes_peak']}, {made['kv_bytes_peak']}; without compression {made['kv_bytes_baseline']})")
print(f"the first {half['new_tokens']} tokens equal: {half['ids'] == made['ids'][:half['new_tokens']]}")
print(f"decode: {new / made['decode_seconds']:.1f} tokens/s")
sys.exit(not (same == new and live and half["ids"] == made["ids"][:half["new_tokens"]]))
PY
