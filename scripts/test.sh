#!/usr/bin/env bash
# Sets up, builds with warnings as errors, and runs all tests: the release build, then the sanitizer build.
# Usage: scripts/test.sh [--quick]   (--quick leaves the sanitizer build out)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh ci
(cd build/ci && ctest --output-on-failure -j1)
scripts/check_install.sh build/ci
if [ "${1:-}" != "--quick" ]; then
  scripts/build.sh ci-asan
  (cd build/ci-asan && ctest --output-on-failure -j1)
fi
