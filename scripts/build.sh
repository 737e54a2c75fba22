#!/usr/bin/env bash
# Sets up and builds one CMake preset (default: release). Usage: scripts/build.sh [PRESET] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
scripts/setup.sh
dir=build/$preset
[ "$preset" = "asan+ubsan" ] && dir=build/asan
[ -f "$dir/build.ninja" ] || cmake --preset "$preset" >&2
cmake --build "$dir" "${@/#/--target=}" >&2
