#!/usr/bin/env bash
# Every command has a man page with all of its flags and with examples. Usage: check_man_pages.sh ROOT PROGRAM
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1/tools/docs/make_man.sh" "$2" "$folder"
failed=0
complain() { echo "$1"; failed=1; }
for command in $("$2" --help | awk '/^Subcommands:/ { on = 1; next } on && /^  [a-z]/ { print $1 }'); do
  page=$folder/kvlab-$command.1
  for section in NAME SYNOPSIS OPTIONS EXAMPLES; do
    grep -qx ".SH $section" "$page" || complain "kvlab-$command.1 has no section $section"
  done
  for flag in $("$2" "$command" --help | grep -oE '^  (-h,)?--[a-z_]+' | sed 's/.*--//'); do
    grep -qE "^\.B (\\\\-h,)?\\\\-\\\\-$flag( |\$)" "$page" || complain "kvlab-$command.1 does not list --$flag"
  done
  grep -q "kvlab.-$command" "$folder/kvlab.1" || complain "kvlab.1 does not point to kvlab-$command"
done
[ -f "$folder/kvlab-compare.1" ] || complain "no commands were found in kvlab --help"
exit $failed
