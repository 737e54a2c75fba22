#!/usr/bin/env bash
# Writes docs/methods.md and a page per method, docs/methods/NAME.md, from the program's descriptors (`kvlab list --json`)
# and the first comment of each method's file. Usage: tools/docs/make_methods.sh [OPTION]... [PROGRAM]
#   --pictures                     draw docs/methods/NAME.png again first (one run of `kvlab compare`)
#   --kvzap_scorer_model FOLDER    with --pictures: the scorer of KVzap for the built-in model; without it KVzap's stay as they are
#   --check                        write nothing; exit 1 with the differences when the pages are not what would be written
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
program=$root/build/release/bin/kvlab
check="" pictures="" scorer=""
while (($#)); do
  case $1 in
    --check) check=yes ;;
    --pictures) pictures=yes ;;
    --kvzap_scorer_model) scorer=${2:?--kvzap_scorer_model needs a folder}; shift ;;
    -*) echo "make_methods.sh: unknown option $1" >&2; exit 2 ;;
    *) program=$1 ;;
  esac
  shift
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$program" list --json >"$scratch/list.json"
if [ "$pictures" ]; then
  mkdir -p "$root/docs/methods"
  python3 "$root/tools/docs/method_pictures.py" "$program" "$scratch/list.json" "$root/docs/methods" "$scorer"
fi
output=$root/docs
if [ "$check" ]; then output=$scratch/docs; fi
python3 "$root/tools/docs/method_pages.py" "$scratch/list.json" "$root/src/methods" "$root/docs/methods" "$output"
if [ "$check" ] && ! diff -ru --exclude='*.png' "$root/docs/methods" "$output/methods" ||
   [ "$check" ] && ! diff -u "$root/docs/methods.md" "$output/methods.md"; then
  echo "The pages on methods are not what the program and the methods' files say: run tools/docs/make_methods.sh" >&2
  exit 1
fi
