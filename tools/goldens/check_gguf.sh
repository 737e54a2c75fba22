#!/bin/sh
# Converts every tiny model to GGUF with convert_gguf.py and compares what kvlab computes of the files with the goldens:
#
#     check_gguf.sh PYTHON [KVLAB_TESTS]
#
# PYTHON has torch, transformers and gguf (the scripts' headers say which); KVLAB_TESTS is the test program, by default
# build/release/tests/kvlab_tests. The goldens are computed anew on the way and must be the committed ones, to their rounding.
# Where KVLAB_SHARED names a folder with models/tiny-*, those are converted and compared too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${1:?usage: check_gguf.sh PYTHON [KVLAB_TESTS]}
tests=${2:-$here/../../build/release/tests/kvlab_tests}
[ -x "$tests" ] || { echo "$tests is not there: build it, or name it as the second argument" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" "$here/make_architecture_goldens.py" "$work/goldens" --folders "$work/folders"
"$python" "$here/compare_goldens.py" "$here/../../tests/goldens/architectures" "$work/goldens"
"$python" "$here/convert_gguf.py" "$work"/folders/* "$work/gguf"
if [ -n "${KVLAB_SHARED:-}" ] && [ -d "$KVLAB_SHARED/models" ]; then
  "$python" "$here/convert_gguf.py" "$KVLAB_SHARED"/models/tiny-* "$work/gguf"
fi
KVLAB_GOLDEN_GGUF_DIR="$work/gguf" "$tests" --gtest_filter='*ConvertedGgufFile*'
