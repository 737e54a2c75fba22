#!/usr/bin/env bash
# Every method with and without 4 protected first tokens, at half of the entries kept: on the built-in corpus and,
# when given, on the articles of a WikiText raw file. DTYPE=bf16 is faster. Prints Markdown. Usage: bench/sinks.sh [WIKI.raw] [KVZAP_FOLDER]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kvlab=${KVLAB:-$root/build/release/bin/kvlab}
wiki=${1:-}
kvzap=${2:-}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
methods=""
for name in random streaming_llm knorm kvzap h2o tova observed_attention snapkv expected_attention keydiff; do
  extra=""
  if [ $name = random ]; then extra=,seed=0; fi
  if [ $name = kvzap ]; then [ -n "$kvzap" ] || continue; fi
  for sinks in 0 4; do methods+="$name(keep=0.5,sinks=$sinks$extra) "; done
done
run() {
  "$kvlab" compare --dtype "${DTYPE:-f32}" --max_length 1024 --methods "$methods" --kvzap_scorer_model "$kvzap" --no_heatmaps --no_long_range \
    --output_dir "$out/$1" "${@:2}" >/dev/null
  python3 "$root/bench/quality_table.py" "$out/$1/comparison_summary.json"
}
echo "<!-- Written by bench/sinks.sh. -->"
echo "# With and without sinks"
echo
echo "## Built-in corpus"
echo
run corpus
if [ -n "$wiki" ]; then
  python3 "$root/bench/articles.py" "$wiki" "$out/articles.jsonl"
  echo
  echo "## WikiText-2 test, 6 articles"
  echo
  run wikitext --data_path "$out/articles.jsonl" --max_samples 6
fi
