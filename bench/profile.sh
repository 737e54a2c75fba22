#!/usr/bin/env bash
# Where the time of a recipe goes: matrix products, attention, statistics of the head, ... Prints Markdown.
# Samples the processor's clock with perf while sessions run; loading the model is left out.
# Usage: bench/profile.sh RECIPE LENGTH [OPTION of kvlab_roofline profile ...]    needs: perf
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 2 ] || { echo "usage: bench/profile.sh RECIPE LENGTH [OPTIONS]" >&2; exit 2; }
recipe=$1 length=$2
shift 2
command -v perf >/dev/null || { echo "bench/profile.sh: perf is not installed (Debian: linux-perf)" >&2; exit 2; }
build=${KVLAB_BUILD:-$root/build/release}
if [ -z "${KVLAB_NO_BUILD:-}" ]; then
  cmake -S "$root" --preset release -DKVLAB_BENCH=ON >&2
  cmake --build "$build" --target kvlab_roofline >&2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/control" "$work/ack"
# Set here, since the program would start itself anew to set it.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
command="kvlab_roofline profile --recipe '$recipe' --length $length${*:+ $*}"
perf record -q -e cpu-clock -F 999 -D -1 --control "fifo:$work/control,$work/ack" -o "$work/perf.data" \
  "$build/bin/kvlab_roofline" profile --recipe "$recipe" --length "$length" "$@" \
  --perf_control "$work/control" --perf_ack "$work/ack" >"$work/run.txt" 2>"$work/perf.txt" ||
  { cat "$work/run.txt" "$work/perf.txt" >&2; exit 1; }
perf report -i "$work/perf.data" --stdio -t '|' --fields overhead,dso,symbol 2>/dev/null >"$work/report.txt"
grep -q '%' "$work/report.txt" || { echo "bench/profile.sh: perf took no samples:" >&2; cat "$work/perf.txt" >&2; exit 1; }

echo "### Parts of $recipe on $length tokens"
echo
echo "    bench/profile.sh '$recipe' $length${*:+ $*}"
echo
echo "\`$command\`: $(tail -1 "$work/run.txt")"
echo
echo "Shares are of the time that threads ran; what they slept waiting is in CPU/wall. The head is its product and its statistics."
echo
awk -F'|' '
  # The part that a symbol belongs to; the first that fits. Code that oneDNN writes while running has no name.
  function part(dso, symbol) {
    if (dso ~ /JIT|anon|libdnnl/) return "matrix products (those of the head as well)"
    if (dso ~ /libgomp/ || symbol ~ /Team|Pipeline/) return "scheduling, waiting for other threads"
    if (dso ~ /kernel|vdso|vmlinux/) return "the system (pages, switches)"
    if (symbol ~ /ExpSumChunk|FirstEqual|PairSum|SlabMax|head_update|head_nll|pair_update|ExpSum.*Chunk/) return "statistics of the head"
    if (symbol ~ /page_|pages|strip|multiply|pack_|softmax|mask_|attention|attend|score_all|add_values|exponentiate|normalise|follow_maximum|narrow_query|summarise|visible/) return "attention"
    if (symbol ~ /write_|read_entr|read_page|copy_entry|HeadStore|entry_pages/) return "entries written, moved and read"
    if (symbol ~ /RmsNorm|SumOfSquares|Rotate|SiluMul|AddTo|BF16|ToF32|rms_norm|rotate|silu|add_to|bf16/) return "norms, rotary, SiLU, conversions"
    if (symbol ~ /observe|score|[Vv]ote|[Ll]ogit|[Mm]oment|add_rows|Dots|Dot$|ExpSum|plan|act_|Budget|evict|Policy|heap|least|add_weights|AddWeights|introselect|Lifetimes|unguarded|insertion_sort|introsort/) return "scorers and budgets"
    return "other"
  }
  /^#/ || NF < 3 { next }
  {
    share = $1; gsub(/[ %]/, "", share)
    dso = $2; symbol = $3; sub(/^ *\[.\] */, "", symbol); sub(/ +$/, "", symbol); gsub(/ +$/, "", dso)
    p = part(dso, symbol); total[p] += share; all += share
    if (p == "other" && listed < 8 && share > 0.2) { others = others "- " symbol " (" dso "): " share "%\n"; ++listed }
  }
  END {
    print "| part | of the time |"
    print "| --- | ---: |"
    sorted = "sort -t\"|\" -k3,3 -rn"
    for (p in total) printf "| %s | %.1f%% |\n", p, 100 * total[p] / all | sorted
    close(sorted)
    if (others) printf "\nLargest among \"other\":\n\n%s", others
  }' "$work/report.txt"
echo
