#!/usr/bin/env bash
# Fuzzes what kvlab reads from outside: sets up clang with libFuzzer, builds the targets of fuzz/ and runs each for SECONDS
# (default 60). Returns 1 when something was found; the inputs lie in build/fuzz/findings.
# Usage: scripts/fuzz.sh [SECONDS] [TARGET...]      (targets: the functions of fuzz/targets.h without "fuzz_")
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
mapfile -t targets < <(sed -n 's/^void fuzz_\([a-z_]*\)(.*/\1/p' fuzz/targets.h)
if (($#)); then
  for name; do
    [[ " ${targets[*]} " == *" $name "* ]] || { echo "fuzz: no target $name (there are: ${targets[*]})" >&2; exit 2; }
  done
  targets=("$@")
fi

scripts/setup.sh
packages=(clang-14 libclang-rt-14-dev libomp-14-dev)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "fuzz: installing Debian packages: ${missing[*]}" >&2
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
fi

build=build/fuzz
[ -f "$build/build.ninja" ] || cmake --preset fuzz >&2
cmake --build "$build" --target fuzz_make_seeds "${targets[@]/#/fuzz_}" >&2
mkdir -p "$build/findings" "$build/corpus" "$build/seeds"
"$build/fuzz/fuzz_make_seeds" "$build/seeds"

# Inputs are written to files for the readers: in memory where the system has a place for that.
scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" kvlab_fuzz_XXXXXX)
trap 'rm -rf "$scratch"' EXIT

export GGML_NO_BACKTRACE=1  # ggml would start a debugger when an exception is not caught
found=0
for target in "${targets[@]}"; do
  corpus=$build/corpus/$target
  mkdir -p "$corpus"
  inputs=("$corpus")
  for folder in "fuzz/seeds/$target" "$build/seeds/$target"; do
    [ -d "$folder" ] && inputs+=("$folder")
  done
  log=$build/findings/$target.log
  echo "fuzz: $target for $seconds s" >&2
  if TMPDIR=$scratch "$build/fuzz/fuzz_$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=16384 \
    -dict="fuzz/dictionaries/$target.dict" -artifact_prefix="$build/findings/$target-" -print_final_stats=1 \
    "${inputs[@]}" >"$log" 2>&1; then
    grep -E 'DONE' "$log" | tail -1 >&2
  else
    found=1
    grep -E 'ERROR|SUMMARY|runtime error|what\(\)|Test unit written' "$log" | head -n 8 >&2 || true
    artefact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    echo "fuzz: $target: FOUND ${artefact:-nothing to replay; see $log}; replay: $build/fuzz/fuzz_$target ${artefact:-}" >&2
  fi
done
exit $found
