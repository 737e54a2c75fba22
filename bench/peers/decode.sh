#!/usr/bin/env bash
# Decoding one sequence, kvlab beside llama.cpp on the same GGUF file, taking turns. Prints Markdown.
# Usage: bench/peers/decode.sh [ROUNDS]      (3)
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
bench/peers/setup.sh
if [ -z "${KVLAB_NO_BUILD:-}" ]; then
  cmake --preset release -DKVLAB_BENCH=ON >&2
  cmake --build build/release --target kvlab_roofline >&2
fi
python=${KVLAB_PEERS_DIR:-.deps/peers}/venv/bin/python
gguf=.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for ((round = 0; round < rounds; ++round)); do
  for weights in file packed; do
    build/release/bin/kvlab_roofline decode --batches 1 --decode_weights "$weights" --json "$work/kvlab_$weights.$round.json" >/dev/null
  done
  "$python" bench/peers/llama_cpp_decode.py --gguf "$gguf" >"$work/llama_cpp.$round.json" 2>/dev/null
done
echo "### Decoding one sequence: 64 tokens after 64, tokens/s, $rounds rounds in turn"
echo
echo "    bench/peers/decode.sh $rounds"
echo
"$python" - "$work" "$rounds" <<'PYTHON'
import json, statistics, sys
from pathlib import Path

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])


def row(name):
    data = json.loads(name.read_text())
    return data["decode"][0] if "decode" in data else data


def cpu(data):
    return data.get("cpu_over_wall", data.get("cpu_wall"))


names = {"kvlab_file": "kvlab, the file's quantised weights", "kvlab_packed": "kvlab, weights packed as bf16", "llama_cpp": "llama.cpp"}
speed = {}
print("| program | tokens/s, median | of each round | CPU/wall |\n| --- | ---: | --- | ---: |")
for key, title in names.items():
    found = [row(folder / f"{key}.{i}.json") for i in range(rounds)]
    speeds = [r["tokens_per_second"] for r in found]
    speed[key] = statistics.median(speeds)
    shares = ", ".join(f"{cpu(r):.3f}" for r in found if cpu(r) is not None)
    print(f"| {title} | {speed[key]:.1f} | {', '.join(f'{s:.1f}' for s in speeds)} | {shares} |")
print(f"\nWith the file's weights kvlab is {speed['kvlab_file'] / speed['llama_cpp']:.2f}x as fast as llama.cpp, with packed ones "
      f"{speed['kvlab_packed'] / speed['llama_cpp']:.2f}x.")
PYTHON
