#!/usr/bin/env python3
"""Cuts a WikiText raw file into its articles, one JSONL line each, so that `kvlab compare` treats each as a document.

Usage: articles.py WIKI.raw OUT.jsonl [MIN_CHARACTERS]
"""
import json
import re
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
least = int(sys.argv[3]) if len(sys.argv) > 3 else 6000
# A title stands between single equals signs on a line of its own; sections have two and more.
starts = [match.start() for match in re.finditer(r"^ = [^=].*[^=] = $", text, re.MULTILINE)]
written = 0
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for begin, end in zip(starts, starts[1:] + [len(text)]):
        article = text[begin:end].strip()
        if len(article) < least:
            continue
        title = article.splitlines()[0].strip("= ").strip()
        out.write(json.dumps({"id": title, "text": article}, ensure_ascii=False) + "\n")
        written += 1
print(f"{written} articles of at least {least} characters", file=sys.stderr)
