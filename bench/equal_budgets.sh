#!/usr/bin/env bash
# Ten methods at the same bytes seen, with the controls. DTYPE=bf16 is faster. Prints Markdown. Calibrates on an eighth of the documents
# and compares on the rest. Usage: bench/equal_budgets.sh FRACTION [WIKI.raw] [KVZAP_FOLDER]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kvlab=${KVLAB:-$root/build/release/bin/kvlab}
fraction=${1:-0.5}
wiki=${2:-}
kvzap=${3:-}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
methods="random streaming_llm knorm kvzap h2o tova observed_attention snapkv expected_attention keydiff"
run() {
  "$kvlab" compare --dtype "${DTYPE:-f32}" --max_length 1024 --methods "$methods" --kvzap_scorer_model "$kvzap" --no_heatmaps \
    --match "bytes_seen=$fraction" --output_dir "$out/$1" "${@:2}" >/dev/null
  python3 "$root/bench/quality_table.py" "$out/$1/comparison_summary.json" match
}
echo "<!-- Written by bench/equal_budgets.sh. -->"
echo "# Ten methods that see $fraction of the dense cache's bytes"
echo
echo "## Built-in corpus"
echo
run corpus
if [ -n "$wiki" ]; then
  python3 "$root/bench/articles.py" "$wiki" "$out/articles.jsonl"
  echo
  echo "## WikiText-2 test, 12 articles"
  echo
  run wikitext --data_path "$out/articles.jsonl" --max_samples 12
fi
