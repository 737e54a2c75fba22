#!/usr/bin/env bash
# The pages on methods are what this program and the methods' files say. Usage: check_method_pages.sh ROOT PROGRAM
set -u
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
"$1/tools/docs/make_methods.sh" --check "$2"
