#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The default model as a Hugging Face folder with its weights dequantised to float32, and the token ids of a text.

    export_model.py MODEL.gguf CORPUS.jsonl --model FOLDER --tokens IDS.json --count 1024

Reading the model and its tokenizer is what tools/goldens does for the reference values, and is taken from there. The
ids are BOS and the first tokens of the corpus' longest document; where it is too short the next longest follow, joined by
newlines.
"""
import argparse
import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "goldens"))
from make_corpus_goldens import BOS, load_model, load_tokenizer  # noqa: E402  pylint: disable=wrong-import-position


def export_model(gguf: Path, folder: Path) -> None:
    """Takes a quarter of a minute, so only when the file is another one than last time."""
    stamp, digest = folder / "source.sha256", hashlib.sha256(gguf.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
        return
    load_model(gguf).save_pretrained(folder)
    stamp.write_text(digest, encoding="ascii")


def first_tokens(gguf: Path, corpus: Path, count: int) -> list[int]:
    tokenizer = load_tokenizer(gguf)
    texts = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines()]

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    texts.sort(key=lambda text: len(encode(text)), reverse=True)
    for documents in range(1, len(texts) + 1):
        ids = [BOS] + encode("\n".join(texts[:documents]))
        if len(ids) >= count:
            return ids[:count]
    raise SystemExit(f"{corpus} has no more than {len(ids)} tokens, and --count is {count}: give a smaller one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--tokens", type=Path, required=True, help="file to write the ids to")
    parser.add_argument("--count", type=int, default=1024, help="tokens, BOS included")
    a = parser.parse_args()
    export_model(a.gguf, a.model)
    a.tokens.write_text(json.dumps(first_tokens(a.gguf, a.corpus, a.count)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
