#!/usr/bin/env bash
# Sets up, builds, and runs the main job on the built-in default: every method on the built-in corpus with the default
# model. More flags are passed on, for example: scripts/demo.sh --max_samples 2 --compression_ratio 0.75
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh release kvlab
exec build/release/bin/kvlab compare --max_length 1024 "$@"
