#!/usr/bin/env bash
# Document D's protocol, on the default model: the perplexity of Knorm and StreamingLLM over compression ratios
# on WikiText-2 (raw, test) and on a book, windows of 1024 tokens, every token scored while the method acts; and
# the checks that its published table fails.
#
#   bench/document_d.sh [--quick] [--windows N] [--output FOLDER] [--model PATH [--untrained]] WIKITEXT BOOK
#
# Writes FOLDER/document_d.md [kvlab_results/document_d] and kvlab's own files beside it, and ends with status 1
# if a check fails. KVLAB names the program [build/release/bin/kvlab]. --quick: fewer ratios, shorter windows; --windows: of each text [8].
# --model: another model than the default one; --untrained: it has random weights, and what evictions do to its losses is not judged.
set -euo pipefail

fail_usage() { echo "usage: bench/document_d.sh [--quick] [--windows N] [--output FOLDER] [--model PATH [--untrained]] WIKITEXT BOOK" >&2; exit 2; }

output=kvlab_results/document_d
ratios=0.0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9
length=1024
windows=8
quick=""
model=()
untrained=""
while [[ ${1:-} == --* ]]; do
  case $1 in
    --quick) quick+="--quick "; ratios=0.0,0.5,0.9; length=512; windows=4; shift ;;
    --windows) [[ $# -ge 2 && $2 =~ ^[1-9][0-9]*$ ]] || fail_usage; windows=$2; quick+="--windows $2 "; shift 2 ;;
    --output) [[ $# -ge 2 ]] || fail_usage; output=$2; shift 2 ;;
    --model) [[ $# -ge 2 ]] || fail_usage; model=(--model "$2"); quick+="--model $(basename "$2") "; shift 2 ;;
    --untrained) untrained=yes; quick+="--untrained "; shift ;;
    *) fail_usage ;;
  esac
done
[[ $# -eq 2 ]] || fail_usage
wikitext=$1 book=$2
kvlab=${KVLAB:-$(dirname "$0")/../build/release/bin/kvlab}
[[ -x $kvlab ]] || { echo "$kvlab is not there: build it, or name it in KVLAB" >&2; exit 2; }
for file in "$wikitext" "$book"; do
  [[ -r $file ]] || { echo "$file cannot be read" >&2; exit 2; }
done
mkdir -p "$output"
report=$output/document_d.md
failures=0

# The columns of time say more about the machine than about the methods; they stay in ppl_summary.csv.
without_times() {
  awk -F'|' '/^\|/ { if (!in_table) { in_table = 1; split("", drop); for (i = 2; i < NF; ++i)
                       if ($i ~ /^ *(prefill s|runtime s|total s|tok\/s) *$/) drop[i] = 1 }
                     line = "|"; for (i = 2; i < NF; ++i) if (!(i in drop)) line = line $i "|"; print line; next }
             { in_table = 0; print }'
}

# run NAME FILE [FLAGS]: one data set.
run() {
  local name=$1 file=$2 folder=$output/$1
  shift 2
  local flags=(--press_sequence no_press,knorm,streaming_llm --compression_ratio "$ratios" --protocol stream
    --max-length "$length" --max_samples "$windows" --dtype f32 --repeat_baseline "$@")
  "$kvlab" ppl "${model[@]}" --data_path "$file" "${flags[@]}" --format markdown --output_dir "$folder" >"$folder.txt"
  { echo; echo "## $name: $(basename "$file")"; echo
    echo "\`kvlab ppl --data_path $(basename "$file") ${flags[*]}\`"; echo
    sed '/^Plot: /d; /^Results /,$d' "$folder.txt" | without_times | cat -s | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; } >>"$report"
}

# check WORDS CSV AWK: counts the lines of a CSV file (its columns by name in c) for which AWK adds to `bad`.
check() {
  local words=$1 csv=$2 program=$3 verdict
  if awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) c[$i] = i; next } '"$program"'
              END { if (seen == 0) bad = 1; exit bad > 0 }' "$csv"; then
    verdict=holds
  else
    verdict="**FAILS**"
    failures=$((failures + 1))
  fi
  echo "- $words: $verdict" >>"$report"
}

checks() {
  local name=$1 rows=$output/$1/ppl_summary.csv steps=$output/$1/ratio_steps.csv
  { echo; echo "Checks of $name:"; echo; } >>"$report"
  check "the baseline, run twice, is equal to the last bit" "$rows" \
    '$c["method"] == "baseline_again" { ++seen; bad += $c["equal_to_baseline"] != "true" }'
  check "a ratio of 0 changes no loss" "$rows" \
    '$c["method"] !~ /^baseline/ && $c["compression_ratio"] == 0 { ++seen; bad += $c["tokens_differing"] != 0 }'
  check "at every other ratio compression reached scored tokens, and at least 99 % of their losses differ from \
the baseline's" "$rows" \
    '$c["compression_ratio"] > 0 { ++seen
       bad += !($c["status"] == "OK" && $c["tokens_touched"] > 0 &&
                $c["touched_differing"] >= 0.99 * $c["tokens_touched"]) }'
  if [[ -n $untrained ]]; then return; fi
  check "0.9 is worse than 0.5, and the 95 % interval of the difference excludes 0, for both methods" "$steps" \
    '$c["from"] == 0.5 && $c["to"] == 0.9 { ++seen; bad += !($c["ci95_low"] != "" && $c["ci95_low"] > 0) }
     END { bad += seen != 2 }'
}

{ echo "\`bench/document_d.sh $quick$(basename "$wikitext") $(basename "$book")\`"; echo
  echo "# Perplexity against compression under document D's protocol"; echo
  echo "Written by the command above. Document D reports the same perplexity with and without compression: there"
  echo "it acted after the scored pass. Here methods act after every token; \`touched\` counts the scored tokens"
  echo "whose attention missed an evicted entry, \`differ\` those whose loss is not the baseline's. Columns:"
  echo "[perplexity.md](../perplexity.md)."; } >"$report"
run wikitext "$wikitext" --join gptq
checks wikitext
run book "$book"
checks book
echo "$report"
if [[ $failures -gt 0 ]]; then
  echo "$failures of the checks fail, see $report" >&2
  exit 1
fi
