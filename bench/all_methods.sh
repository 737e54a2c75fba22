#!/usr/bin/env bash
# Every method that streams, at the same bytes seen: 16 documents of 4096 tokens, streamed exactly, the newest 32 tokens protected in all
# rows, budgets found on two further documents. TEXT is a WikiText file (its articles are the documents), a book as .txt (cut into
# pieces) or a .jsonl file. What a learned scorer needs can be given in MODELS as recipes: MODELS="qfilter(model=F) duo_attention(model=H)".
# SINKS=N protects the first N tokens in every row (default 4; SINKS=own: as each method has it). MORE gives further flags of
# `kvlab compare`: MORE="--no_controls --leave_out oracle" leaves out the oracles, a third of the time.
# Prints Markdown. What has been run stays in OUT, so that an interrupted table goes on with the next fraction.
# Usage: bench/all_methods.sh TEXT OUT_FOLDER [FRACTION...]        (default fractions: 0.5 0.25 0.125; about 75 minutes each on two cores)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kvlab=${KVLAB:-$root/build/release/bin/kvlab}
if [ $# -lt 2 ]; then
  sed -n '2,8s/^# //p' "$0" >&2
  exit 2
fi
text=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- 0.5 0.25 0.125
sinks=(--sinks "${SINKS:-4}")
[ "${SINKS:-}" = own ] && sinks=()
mkdir -p "$out"
case $text in
  *.jsonl) cp "$text" "$out/documents.jsonl" ;;
  *.raw) python3 "$root/bench/articles.py" "$text" "$out/documents.jsonl" 21500 ;;
  *) python3 "$root/bench/pieces.py" "$text" "$out/documents.jsonl" 18500 ;;
esac
echo "<!-- Written by bench/all_methods.sh. -->"
echo "# All methods at the same bytes seen"
for fraction in "$@"; do
  folder=$out/seen_$fraction
  if [ ! -f "$folder/done" ]; then
    "$kvlab" compare --data_path "$out/documents.jsonl" --max_samples 18 --max_length 4096 --match_documents 2 \
      --methods "${METHODS:-all} ${MODELS:-}" --sliding_window_size 32 "${sinks[@]}" ${MORE:-} --no_heatmaps --match "bytes_seen=$fraction" \
      --output_dir "$folder" >"$out/seen_$fraction.txt"
    touch "$folder/done"
  fi
  echo
  echo "## $fraction of the dense cache's bytes"
  echo
  python3 "$root/bench/quality_table.py" "$folder/comparison_summary.json" match
done
