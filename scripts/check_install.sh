#!/usr/bin/env bash
# Installs a build into a temporary folder, runs the program from there, and builds and runs the example against the
# installed library, as a user of it would. Usage: scripts/check_install.sh BUILD_FOLDER
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null
"$work/prefix/bin/kvlab" info | head -n 3
if command -v readelf >/dev/null && readelf -d "$work/prefix/bin/kvlab" "$work"/prefix/lib*/libkvlab.so* "$work"/prefix/lib*/*/libkvlab.so* 2>/dev/null |
  grep -E 'RPATH|RUNPATH' | grep -v ORIGIN; then
  echo "check_install: an installed file has a path into the build machine" >&2
  exit 1
fi
cmake -S "$root/examples" -B "$work/example" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/example" >/dev/null
"$work"/example/score_text "$work"/prefix/share/kvlab/models/*.gguf "h2o(size=8)" "The cache holds what the method leaves, and nothing else."
echo "check_install: passed"
