#!/usr/bin/env python3
"""Cuts a long text into pieces at paragraph ends, one JSONL line each, so that `kvlab compare` treats each as a document.

Usage: pieces.py TEXT.txt OUT.jsonl CHARACTERS
"""
import json
import os
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    paragraphs = file.read().replace("\r\n", "\n").split("\n\n")
least = int(sys.argv[3])
name = os.path.splitext(os.path.basename(sys.argv[1]))[0]
pieces, piece, size = [], [], 0
for paragraph in paragraphs:
    piece.append(paragraph)
    size += len(paragraph) + 2
    if size >= least:
        pieces.append("\n\n".join(piece))
        piece, size = [], 0
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for number, text in enumerate(pieces):
        out.write(json.dumps({"id": f"{name} {number + 1}", "text": text}, ensure_ascii=False) + "\n")
print(f"{len(pieces)} pieces of at least {least} characters", file=sys.stderr)
