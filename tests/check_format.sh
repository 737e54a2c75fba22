#!/usr/bin/env bash
# Every tracked C++ file is as clang-format 14 (Debian 12's) leaves it. Usage: check_format.sh ROOT
set -u
cd "$1" || exit 2
command -v clang-format >/dev/null || { echo "SKIPPED: no clang-format"; exit 77; }
case "$(clang-format --version)" in *"version 14."*) ;; *) echo "SKIPPED: another clang-format than 14"; exit 77 ;; esac
git ls-files '*.cc' '*.h' >/dev/null 2>&1 || { echo "SKIPPED: not a git checkout"; exit 77; }
git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
