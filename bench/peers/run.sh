#!/usr/bin/env bash
# Runs kvlab and its peers one after another on the same model, tokens and threads, and prints one table.
# Usage: bench/peers/run.sh [--tokens 1024] [--threads 2] [--repeats 3] [--only REGEX] [--quick] [--without-llama-cpp] [--out FOLDER]
# --only: runs only the programs whose names fit, such as 'bf16|llama_cpp' (kvlab_stream_bf16 is needed by their table).
# --quick: 192 tokens and one repeat, to see that everything runs. FOLDER (results/peers) gets RESULTS.md, RESULTS.json,
# the losses, and a log per program.
set -euo pipefail
command="bench/peers/run.sh${*:+ $*}"
cd "$(dirname "$0")/../.."
tokens=1024 threads=2 repeats=3 out=results/peers only=. setup=()
naive_tokens=256         # of the plain token-by-token loop, whose speed hardly depends on their number
threshold=-17 window=128 # of Knorm after every token: of 1024 tokens about half is evicted
while (($#)); do
  [[ $1 == --tokens || $1 == --threads || $1 == --repeats || $1 == --out || $1 == --only ]] && (($# < 2)) &&
    { echo "run: $1 needs a value" >&2; exit 2; }
  case $1 in
    --tokens) tokens=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --repeats) repeats=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --quick) tokens=192 repeats=1 naive_tokens=64; shift ;;
    --without-llama-cpp) setup+=("$1"); shift ;;
    *) echo "run: unknown argument '$1', see the head of bench/peers/run.sh" >&2; exit 2 ;;
  esac
done
for number in "$tokens" "$threads" "$repeats"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "run: '$number' is not a whole number above 0" >&2; exit 2; }
done
if ((tokens < 160)); then
  echo "run: --tokens $tokens is too short for a window of $window and SnapKV's 64 queries: give 160 or more" >&2
  exit 2
fi

bench/peers/setup.sh "${setup[@]}"
scripts/build.sh release kvlab-cli
peers=${KVLAB_PEERS_DIR:-.deps/peers}
python=$peers/venv/bin/python
gguf=.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
rm -rf "$out/losses" "$out/logs" "$out/lines.jsonl"
mkdir -p "$out/losses" "$out/logs"

# The same threads for everybody; nothing from the network; no progress bars; no GPU.
export OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads
export HF_HUB_OFFLINE=1 TQDM_DISABLE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 CUDA_VISIBLE_DEVICES=
started=$SECONDS
"$python" bench/peers/export_model.py "$gguf" data/corpus/corpus.jsonl --model "$peers/model-f32" \
  --tokens "$out/tokens.json" --count "$tokens" 2>"$out/logs/export_model"

# peer NAME SCRIPT ARGUMENTS...: one process. One that fails leaves a row that says so, and the others go on.
peer() {
  local name=$1 script=$2
  shift 2
  [[ $name =~ $only ]] || return 0
  echo "run: $name ($((SECONDS - started)) s)" >&2
  if ! "$python" "bench/peers/$script" --tokens "$out/tokens.json" --out "$out/losses" --threads "$threads" "$@" \
    >>"$out/lines.jsonl" 2>"$out/logs/$name"; then
    printf '{"row": "%s", "program": "%s", "version": "none", "method": "%s", "dtype": "-", "acts": "-", "pair": null, "status": "FAILED", "reason": "%s"}\n' \
      "$name" "${script%%_*}" "${name//_/ }" "see logs/$name" >>"$out/lines.jsonl"
  fi
}

model=(--model "$peers/model-f32")
many=(--repeats "$repeats") one=(--repeats 1)
knorm=(--threshold="$threshold" --window "$window")
for dtype in bf16 f32; do
  peer "kvlab_stream_$dtype" kvlab_peer.py "${model[@]}" "${many[@]}" "${knorm[@]}" --dtype "$dtype" \
    --kvlab build/release/bin/kvlab stream
  peer "kvlab_prefix_$dtype" kvlab_peer.py "${model[@]}" "${many[@]}" --dtype "$dtype" --kvlab build/release/bin/kvlab prefix
done
for dtype in bf16 f32; do
  peer "transformers_dense_$dtype" transformers_peer.py "${model[@]}" "${many[@]}" --dtype "$dtype" dense
  peer "transformers_loop_$dtype" transformers_peer.py "${model[@]}" "${many[@]}" --dtype "$dtype" --limit "$naive_tokens" loop
  peer "kvpress_context_$dtype" kvpress_peer.py "${model[@]}" "${many[@]}" --dtype "$dtype" context
done
# Token by token takes a minute a repeat; f32, which is there for its losses, is run once.
peer kvpress_stream_bf16 kvpress_peer.py "${model[@]}" "${many[@]}" "${knorm[@]}" --dtype bf16 stream
peer kvpress_stream_f32 kvpress_peer.py "${model[@]}" "${one[@]}" "${knorm[@]}" --dtype f32 stream
peer llama_cpp llama_cpp_peer.py "${many[@]}" --gguf "$gguf" --reason_file "$peers/llama_cpp.reason"

"$python" bench/peers/table.py "$out/lines.jsonl" --losses "$out/losses" --out "$out" --threads "$threads" \
  --command "$command" --note "Threads: $threads; repeats: $repeats; wall time of all rows: $((SECONDS - started)) s" \
  --note "Revision: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD -- src 2>/dev/null || echo ', with changes in src')"
