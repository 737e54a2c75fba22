#!/usr/bin/env bash
# Installs the peers into an environment of their own, .deps/peers (or $KVLAB_PEERS_DIR), apart from what kvlab is
# built with. Safe to run again; the second run only checks. Several GB: torch brings libraries for GPUs along, which
# stay unused.
# Usage: bench/peers/setup.sh [--without-llama-cpp]   (llama.cpp is compiled here, some ten minutes on two cores)
set -euo pipefail
cd "$(dirname "$0")/../.."
with_llama_cpp=1
for argument in "$@"; do
  case $argument in
    --without-llama-cpp) with_llama_cpp=0 ;;
    *) echo "setup: unknown argument '$argument' (expected --without-llama-cpp)" >&2; exit 2 ;;
  esac
done
scripts/setup.sh
folder=${KVLAB_PEERS_DIR:-.deps/peers}
requirements=bench/peers/requirements.txt
mkdir -p "$folder"

# A stamp holds what was installed, so that a new pin installs anew.
wheels=$(grep -v -e '^#' -e '^llama-cpp-python' "$requirements")
if [ "$(cat "$folder/.wheels" 2>/dev/null)" != "$wheels" ]; then
  echo "setup: installing the peers into $folder" >&2
  rm -rf "$folder/venv" "$folder/.wheels" "$folder/.llama_cpp"
  /usr/bin/python3 -m venv "$folder/venv"
  # shellcheck disable=SC2086
  "$folder/venv/bin/python" -m pip install --disable-pip-version-check -q $wheels
  echo "$wheels" >"$folder/.wheels"
fi

# llama.cpp comes as source only, and is built with all instructions of this processor. The table can do without it,
# so a failed build is reported there (llama_cpp.reason) and ends nothing.
llama_cpp=$(grep '^llama-cpp-python' "$requirements")
if [ "$with_llama_cpp" = 0 ]; then
  [ -f "$folder/.llama_cpp" ] || echo "left out by --without-llama-cpp" >"$folder/llama_cpp.reason"
elif [ "$(cat "$folder/.llama_cpp" 2>/dev/null)" != "$llama_cpp" ]; then
  echo "setup: building $llama_cpp (log: $folder/llama_cpp.log)" >&2
  if CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) nice -n 10 \
    "$folder/venv/bin/python" -m pip install --disable-pip-version-check --no-binary llama-cpp-python \
    --no-cache-dir "$llama_cpp" >"$folder/llama_cpp.log" 2>&1; then
    echo "$llama_cpp" >"$folder/.llama_cpp"
    rm -f "$folder/llama_cpp.reason"
  else
    echo "the build of $llama_cpp failed, see llama_cpp.log" >"$folder/llama_cpp.reason"
    tail -n 3 "$folder/llama_cpp.log" >&2
  fi
fi
