#!/usr/bin/env python3
"""Compares kvlab with llama.cpp on GGUF vocabularies.

    pip install tokenizers sentencepiece gguf llama-cpp-python
    tools/tokenizers/check.py --text book.txt --keep DIR      # trains the vocabularies
    tools/tokenizers/check_gguf.py --text book.txt --vocabularies DIR [--kvlab build/release/bin/kvlab] [--strings 2000]

Texts are in NFC for the families that kvlab normalizes and llama.cpp does not. The exit code is 1 when ids differ.
"""
import argparse
import json
import os
import subprocess
import sys
import unicodedata

import gguf
import llama_cpp
import sentencepiece

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import strings  # noqa: E402

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
# Family: the name of its pattern in GGUF files, and whether kvlab normalizes.
BYTE_LEVEL = {"gpt2": ("gpt-2", False), "smollm": ("smollm", False), "llama3": ("llama-bpe", False),
              "qwen2": ("qwen2", True), "tekken": ("tekken", False), "pythia": ("olmo", True)}
USER_DEFINED_PIECES = {"sp_llama2": set(), "sp_gemma": {"\u2581\u2581", "\u2581\u2581\u2581", "<b>"}}


def start(path, kind, tokens, types):
    """A file that llama.cpp opens for its vocabulary alone."""
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in ((writer.add_context_length, 64), (writer.add_embedding_length, 64), (writer.add_block_count, 1),
                       (writer.add_feed_forward_length, 64), (writer.add_head_count, 2),
                       (writer.add_rope_dimension_count, 32), (writer.add_layer_norm_rms_eps, 1e-5),
                       (writer.add_vocab_size, len(tokens)), (writer.add_tokenizer_model, kind),
                       (writer.add_token_list, tokens), (writer.add_token_types, types)):
        add(value)
    return writer


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_scores(folder, name, path):
    """SentencePiece's vocabulary as converters write it: the spaces of user-defined tokens as such."""
    model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, name, "tokenizer.model"))
    tokens, types = [], []
    for i in range(model.get_piece_size()):
        piece = model.id_to_piece(i)
        user = piece in USER_DEFINED_PIECES[name]
        types.append(UNKNOWN if model.is_unknown(i) else CONTROL if model.is_control(i) else BYTE if model.is_byte(i)
                     else USER_DEFINED if user else NORMAL)
        tokens.append(piece.replace("\u2581", " ") if user else piece)
    writer = start(path, "llama", tokens, types)
    writer.add_token_scores([model.get_score(i) for i in range(len(tokens))])
    writer.add_add_space_prefix(name != "sp_gemma")
    finish(writer)
    return ["<s>", "</s>", "<b>"]


def write_merges(folder, name, path):
    with open(os.path.join(folder, name, "tokenizer.json"), encoding="utf-8") as file:
        made = json.load(file)
    added = {t["id"]: t for t in made["added_tokens"]}
    vocab = {i: t for t, i in made["model"]["vocab"].items()} | {i: t["content"] for i, t in added.items()}
    types = [NORMAL if i not in added else CONTROL if added[i]["special"] else USER_DEFINED for i in range(len(vocab))]
    writer = start(path, "gpt2", [vocab[i] for i in range(len(vocab))], types)
    writer.add_tokenizer_pre(BYTE_LEVEL[name][0])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in made["model"]["merges"]])
    finish(writer)
    return [t["content"] for t in added.values()]


def compare(name, args, path, texts, special):
    model = llama_cpp.Llama(model_path=path, vocab_only=True, verbose=False)
    expected = [model.tokenize(text.encode(), add_bos=False, special=special) for text in texts]
    command = [args.kvlab, "tokenize", "--model", path, "--lines", "-", "--bos", "no", "--eos", "no",
               "--special", "yes" if special else "no"]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    ids = [json.loads(line) for line in done.stdout.split("\n") if line]
    wrong = [i for i in range(len(texts)) if ids[i] != expected[i]]
    print(f"{name:10} special tokens {'are found' if special else 'are text '}  {len(texts):6} texts  {len(wrong):6} differ")
    for i in wrong[:3]:
        print(f"    {texts[i]!r}\n      llama.cpp {expected[i]}\n      kvlab     {ids[i]}")
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvlab", default="build/release/bin/kvlab")
    parser.add_argument("--text", required=True)
    parser.add_argument("--vocabularies", required=True)
    parser.add_argument("--strings", type=int, default=2000)
    args = parser.parse_args()
    with open(args.text, encoding="utf-8") as file:
        words = file.read().split()
    good = True
    for name in [*BYTE_LEVEL, *USER_DEFINED_PIECES]:
        path = os.path.join(args.vocabularies, name + ".gguf")
        special = (write_merges if name in BYTE_LEVEL else write_scores)(args.vocabularies, name, path)
        texts = [strings.random_text(seed, words, special, 30) for seed in range(args.strings)]
        if BYTE_LEVEL.get(name, ("", False))[1]:
            texts = [unicodedata.normalize("NFC", text) for text in texts]
        texts = [text for text in texts if text]
        good &= compare(name, args, path, texts, True)
        if name not in BYTE_LEVEL:
            good &= compare(name, args, path, texts, False)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
