#!/usr/bin/env bash
# Writes docs/methods.md from the methods' own descriptors (`kvlab list --json`) and from what the head of each method's
# file says of its differences from the paper and of its bytes. Usage: tools/docs/make_methods.sh [PROGRAM] [OUTPUT]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${1:-$root/build/release/bin/kvlab}
output=${2:-$root/docs/methods.md}
list=$(mktemp)
page=$(mktemp "$output.XXXXXX")
trap 'rm -f "$list" "$page"' EXIT
"$program" list --json >"$list"
python3 - "$list" "$root/src/methods" >"$page" <<'PYTHON'
import json
import re
import sys
from pathlib import Path

with open(sys.argv[1], encoding="utf-8") as file:
    parts = json.load(file)
sources = Path(sys.argv[2])


def plain(text):
    """Text whose signs Markdown does not read as its own."""
    return re.sub(r"([\\`*_|<])", r"\\\1", text)


def sentence(text):
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def file_head(name):
    """What the comment at the top of a scorer's file says under Differs and Bytes per token."""
    words = []
    for line in (sources / "scorers" / (name + ".cc")).read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        words.append(line[2:].strip())
    text = " ".join(words)
    found = {}
    for label, pattern in (
        ("Differs", r"Differs: (.*?)(?: Bytes per token:|$)"),
        ("Bytes per token", r"Bytes per token: (.*)$"),
    ):
        match = re.search(pattern, text)
        if match:
            found[label] = match.group(1)
    return found


def budgets_of(method):
    if not method["takes_budget"]:
        return []
    return [b["name"] for b in parts["budgets"] if b["name"] != "threshold" or method["takes_threshold"]]


KINDS = {
    "fixed": "fixed: known when the entry is written",
    "weights": "weights: needs the attention weights of every query",
    "planned": "planned: evictions are decided before the session runs",
    "periodic": "periodic: scores all live entries anew whenever the budget acts, every 128 tokens unless told otherwise",
}

print("# Methods\n")
print("This page is written by `tools/docs/make_methods.sh` from `kvlab list --json`; do not edit it. A method is used by")
print("its name or in a recipe, `name(parameter=value,...)`, with at most one budget and optionally `+` a codec. All take")
print("`sinks=`, `window=`, `every=` or `at=context`, and `compression_ratio=`. `kvlab list` also shows what each protects")
print("by default. Defaults for sinks below are those of a streaming run.\n")

for method in parts["methods"]:
    print(f"## {plain(method['name'])}\n")
    print(f"{method['title']} {plain(method['summary'])}.\n")
    rows = {
        "Score": f"`{method['formula']}`",
        "Kind": KINDS.get(method["kind"], method["kind"]),
        "Budgets": ", ".join(f"`{name}`" for name in budgets_of(method)) or "none",
        "Sinks by default": str(method["sinks"]),
        "Paper": plain(method["paper"]),
    }
    rows.update((label, plain(sentence(text))) for label, text in file_head(method["name"]).items())
    for label, text in rows.items():
        print(f"- {label}: {text}")
    for field in method["parameters"]:
        print(f"- Parameter `{field['name']}`: {plain(field['help'])} ({plain(field['range'])})")
    print(f"- Source: [src/methods/scorers/{method['name']}.cc](../src/methods/scorers/{method['name']}.cc)\n")

print("## Two phases\n")
print(f"`{parts['two_phase']['recipe']}`: {parts['two_phase']['summary']}. The context's method is resolved as with")
print("`at=context`. The other watches from the first token on, but evicts only after the context: whenever n, counted")
print("from the session's start, is a multiple of its `every`. Nothing goes before the end of the context. A method whose")
print("KV heads decide together (TOVA) can only follow one that leaves all heads the same entries.\n")
print("## Named recipes\n")
print("| name | recipe | what it is |\n|---|---|---|")
for named in parts["named"]:
    print(f"| `{named['name']}` | `{named['recipe']}` | {plain(named['summary'])} |")
print("\n## Budgets\n")
print("| name | what it bounds | value |\n|---|---|---|")
for budget in parts["budgets"]:
    print(f"| `{budget['name']}` | {plain(budget['summary'])} | {plain(budget['range'])} |")
print("\n## Codecs\n")
print("| name | how entries are stored |\n|---|---|")
for codec in parts["codecs"]:
    print(f"| `{codec['name']}` | {plain(codec['summary'])} |")
PYTHON
chmod 644 "$page"
mv "$page" "$output"
