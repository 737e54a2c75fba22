#!/usr/bin/env bash
# Writes man pages from the program's own help: kvlab.1, and kvlab-COMMAND.1 for every command. The build runs it, so pages
# are never older than the flags. Usage: tools/docs/make_man.sh PROGRAM FOLDER
set -euo pipefail
program=$1 folder=$2
mkdir -p "$folder"
version=$("$program" --version)

# Help in the form that CLI11 prints becomes a page: the first line is the summary, then come `Usage:`, sections of
# entries ("  --flag TYPE   words", words on the next line after a long flag) and free text.
page() {
  awk -v name="$1" -v version="$version" '
    function safe(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); sub(/^[.\047]/, "\\\\\\&&", text); return text }
    NR == 1 {
      sub(/^kvlab: /, "")
      printf ".TH %s 1 \"\" \"%s\" \"User Commands\"\n.SH NAME\n%s \\- %s\n", toupper(name), version, safe(name), safe($0)
      next
    }
    /^Usage: / { printf ".SH SYNOPSIS\n.B %s\n", safe(substr($0, 8)); next }
    /^[A-Z][a-z]+:$/ { sub(/:$/, ""); printf ".SH %s\n", toupper($0); examples = ($0 == "Examples"); next }
    examples && /^ / { sub(/^ +/, ""); printf ".PP\n.nf\n%s\n.fi\n", safe($0); next }
    /^  [^ ]/ {
      line = substr($0, 3)
      at = match(line, /  +/)
      flag = at ? substr(line, 1, at - 1) : line
      words = at ? substr(line, at) : ""
      sub(/^ +/, "", words)
      printf ".TP\n.B %s\n%s", safe(flag), words == "" ? "" : safe(words) "\n"
      next
    }
    /^ / { sub(/^ +/, ""); print safe($0); next }
    /./ { if (!notes++) print ".SH NOTES"; print safe($0); print ".br" }
  '
}

"$program" --help | page kvlab >"$folder/kvlab.1"
commands=$("$program" --help | awk '/^Subcommands:/ { on = 1; next } on && /^  [a-z]/ { print $1 }')
{
  echo ".SH SEE ALSO"
  for command in $commands; do printf '.BR kvlab\\-%s (1)\n' "$command"; done
} >>"$folder/kvlab.1"
for command in $commands; do
  # Commands such as `train` have subcommands, each with a page of its own.
  inner=$("$program" "$command" --help | awk '/^Subcommands:/ { on = 1; next } on && /^  [a-z]/ { print $1 }')
  {
    "$program" "$command" --help | page "kvlab-$command"
    printf '.SH SEE ALSO\n.BR kvlab (1)\n'
    for what in $inner; do printf '.BR kvlab\\-%s\\-%s (1)\n' "$command" "$what"; done
  } >"$folder/kvlab-$command.1"
  for what in $inner; do
    {
      "$program" "$command" "$what" --help | page "kvlab-$command-$what"
      printf '.SH SEE ALSO\n.BR kvlab\\-%s (1)\n' "$command"
    } >"$folder/kvlab-$command-$what.1"
  done
done
