#!/usr/bin/env bash
# bench/profile.sh for one recipe of every kind. Writes docs/results/profile.md, or OUT.
# Usage: bench/profiles.sh [LENGTH] [OUT.md]      (4096)    needs: perf
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
length=${1:-4096} out=${2:-$root/docs/results/profile.md}
recipes=(none 'streaming_llm(sinks=4,window=128)' 'knorm(keep=0.5)' 'h2o(keep=0.5)' 'tova(keep=0.5)'
  'snapkv(keep=0.5,every=128)' 'expected_attention(keep=0.5,every=128)' 'keydiff(keep=0.5,every=128)')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for recipe in "${recipes[@]}"; do
  echo "$recipe" >&2
  "$root/bench/profile.sh" "$recipe" "$length" >>"$work/body.md"
  export KVLAB_NO_BUILD=1
  echo >>"$work/body.md"
done
{
  echo "<!-- Written by bench/profiles.sh. -->"
  echo "# Where the time goes, by recipe"
  echo
  echo "- Machine: $(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) processors"
  echo "- Revision: $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
  echo
  cat "$work/body.md"
} >"$work/out.md"
mkdir -p "$(dirname "$out")"
sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' "$work/out.md" >"$out"
