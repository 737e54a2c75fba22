#!/usr/bin/env bash
# What this machine can do and what share of it kvlab reaches: peaks, kernels, texts end to end, decoding, shapes of
# larger models, one long text. Writes docs/results/roofline.md, or OUT. On a machine that does nothing else, ten minutes.
# Usage: bench/roofline.sh [--quick] [OUT.md] [JSON_FOLDER]      --quick: small sizes, to see that everything runs
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
quick=
if [ "${1:-}" = --quick ]; then quick=1; shift; fi
out=${1:-$root/docs/results/roofline.md}
json=${2:-}
build=${KVLAB_BUILD:-$root/build/release}
if [ -z "${KVLAB_NO_BUILD:-}" ]; then
  cmake -S "$root" --preset release -DKVLAB_BENCH=ON >&2
  cmake --build "$build" --target kvlab_roofline >&2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -z "$json" ] || mkdir -p "$json"

part() {
  local name=$1
  shift
  local shown="kvlab_roofline"
  for word in "$@"; do case $word in *[' ()']*) shown+=" '$word'" ;; *) shown+=" $word" ;; esac; done
  echo "$shown" >&2
  printf '## %s\n\n    %s\n\n' "$name" "$shown" >>"$work/body.md"
  "$build/bin/kvlab_roofline" "$@" ${json:+--json "$json/$(echo "$name" | tr 'A-Z ' 'a-z_' | tr -dc 'a-z0-9_').json"} \
    >>"$work/body.md"
}

start=$(date +%s)
if [ -n "$quick" ]; then
  part "Peaks" peaks
  part "Kernels" kernels
  part "End to end" run --lengths 128,256 --repeats 2
  part "Decoding" decode --new 8 --repeats 2
  part "Shape of SmolLM2-135M" shape --shape smollm2-135m --layers 2 --length 128 --repeats 2
  part "One long text" long --tokens 512 --control_tokens 256 --recipes 'streaming_llm(size=200) h2o(size=64)'
else
  part "Peaks" peaks
  part "Kernels" kernels
  part "Kernels in f32" kernels --dtype f32
  part "End to end" run --lengths 1024,4096
  part "End to end in f32" run --lengths 1024 --dtype f32 --repeats 3
  part "Decoding" decode
  part "Decoding under a budget" decode --context 1024 --recipe 'h2o(size=256)' --repeats 3
  part "Shape of Llama-3.1-8B" shape --shape llama-3.1-8b --layers 4 --length 2048 --repeats 3
  part "Shape of Qwen2.5-7B" shape --shape qwen2.5-7b --layers 2 --length 2048 --repeats 3
  part "Shape of Mistral-7B" shape --shape mistral-7b --layers 2 --length 2048 --repeats 3
  part "One long text" long --tokens 32768 --control_tokens 8192
fi
seconds=$(($(date +%s) - start))

# A row's last cell says whether it is clean.
rows=$(grep -cE '\| +(not )?clean \|$' "$work/body.md" || true)
unclean=$(grep -cE '\| +not clean \|$' "$work/body.md" || true)
{
  echo "<!-- Written by bench/roofline.sh. -->"
  echo "# Roofline: what the machine can do, and what share of it kvlab reaches"
  echo
  echo "- Machine: $(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) processors"
  echo "- Revision: $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown); wall time: $seconds s"
  if [ "$unclean" -eq 0 ]; then
    echo "- All $rows measurements are clean."
  else
    echo "- **$unclean of $rows measurements are not clean.**"
  fi
  echo
  echo "Every command measures the peaks that its rates are compared with. CPU/wall is processor time over wall time over the number of"
  echo "threads. From 0.96 a measurement is clean; below it something else had the processors, or threads waited for each other. Waiting"
  echo "threads spin briefly, which counts as work, and then sleep (\`GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}\`, as in the program)."
  echo
  cat "$work/body.md"
} >"$work/out.md"
mkdir -p "$(dirname "$out")"
sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' "$work/out.md" >"$out"
echo "$out: $rows measurements, $unclean not clean, $seconds s" >&2
