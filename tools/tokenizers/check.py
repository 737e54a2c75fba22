#!/usr/bin/env python3
"""Compares kvlab's tokenizers with the libraries that define them, on thousands of random Unicode texts.

    pip install tokenizers sentencepiece
    tools/tokenizers/check.py --kvlab build/release/bin/kvlab --text book.txt [--strings 10000] [--family NAME ...]

For each family of tokenizer.json, and for SentencePiece models as Llama 2's were trained, it trains a small vocabulary
on the text, has the library and `kvlab tokenize` encode the same texts and decode them again, and counts what is equal.
The exit code is 1 when ids or decoded texts differ. "Comes back" counts texts that decode to themselves: normalizers, and
prefix spaces, keep some from it, for the library as for kvlab. --keep DIR keeps the vocabularies. With --folder DIR it
compares a model's own tokenizer.json.

The files of tests/goldens/tokenizers are made with
    check.py --text katrine_14263.txt --strings 100 --vocabulary 600 --short --freeze tests/goldens/tokenizers
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import families  # noqa: E402
import strings  # noqa: E402


def run_kvlab(kvlab, folder, values, *options):
    """One JSON value a line to kvlab, one back."""
    lines = "".join(json.dumps(value) + "\n" for value in values)
    command = [kvlab, "tokenize", "--model", folder, "--lines", "-", "--bos", "no", "--eos", "no", *options]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def report(name, texts, expected, decoded, ids, back):
    """Prints one line, and the first differences; True when all is equal."""
    wrong = [i for i in range(len(texts)) if expected[i] != ids[i]]
    bad = [i for i in range(len(texts)) if decoded[i] != back[i]]
    whole = sum(a == b for a, b in zip(texts, back))
    print(f"{name:14}{len(texts):8} texts  {sum(map(len, ids)):9} ids  {len(wrong):6} differ  {len(bad):6} decoded differ"
          f"  {whole:8} come back", flush=True)
    for i in wrong[:3]:
        print(f"    {texts[i]!r}\n      library {expected[i]}\n      kvlab   {ids[i]}")
    for i in bad[:3]:
        print(f"    decoded {ids[i]}\n      library {decoded[i]!r}\n      kvlab   {back[i]!r}")
    return not wrong and not bad


def make_texts(book, args, special):
    words = book.split()
    return [strings.random_text(seed, words, special, 8 if args.short else 30) for seed in range(args.strings)]


def compare(name, args, folder, cases, *options):
    """Has kvlab do what the library did."""
    texts, expected, decoded = cases
    ids = run_kvlab(args.kvlab, folder, texts, *options)
    back = run_kvlab(args.kvlab, folder, expected, "--decode")
    return report(name, texts, expected, decoded, ids, back)


def library_cases(folder, args, book):
    """What PyPI's tokenizers makes of random texts."""
    from tokenizers import Tokenizer
    path = os.path.join(folder, "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    with open(path, encoding="utf-8") as file:
        special = [t["content"] for t in json.load(file)["added_tokens"]]
    texts = make_texts(book, args, special)
    expected = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return texts, expected, tokenizer.decode_batch(expected, skip_special_tokens=False)


def check_family(name, args, book, folder):
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
        json.dump(families.make(name, book, args.vocabulary), out, ensure_ascii=False)
    cases = library_cases(folder, args, book)
    if args.freeze:
        with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
            freeze(name, args, {"tokenizer": json.load(file)}, cases)
    return compare(name, args, folder, cases)


SENTENCEPIECE = {
    "sp_llama2": {"byte_fallback": True, "remove_extra_whitespaces": False},
    "sp_gemma": {"byte_fallback": True, "remove_extra_whitespaces": False, "add_dummy_prefix": False,
                 "user_defined_symbols": ["\u2581\u2581", "\u2581\u2581\u2581", "<b>"]},
    "sp_collapse": {"byte_fallback": False, "remove_extra_whitespaces": True},
}


def check_sentencepiece(name, args, book, folder):
    import sentencepiece
    text = os.path.join(folder, "text.txt")
    with open(text, "w", encoding="utf-8") as out:
        out.write(book)
    sentencepiece.SentencePieceTrainer.train(
        input=text, model_prefix=os.path.join(folder, "tokenizer"), model_type="bpe", vocab_size=args.vocabulary + 100,
        normalization_rule_name="identity", split_digits=True, character_coverage=0.9995, max_sentence_length=16384,
        minloglevel=2, **SENTENCEPIECE[name])
    path = os.path.join(folder, "tokenizer.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    texts = make_texts(book, args, ["<b>", "<s>", "</s>"])
    expected = processor.encode(texts)
    decoded = [processor.decode(ids) for ids in expected]
    if not SENTENCEPIECE[name]["byte_fallback"]:  # how the library writes what it does not know
        decoded = [d.replace(" \u2047 ", "<unk>") for d in decoded]
    cases = texts, expected, decoded
    if args.freeze:
        with open(path, "rb") as file:
            freeze(name, args, {"model": file.read().hex()}, cases)
    return compare(name, args, folder, cases, "--special", "no")


def freeze(name, args, made, cases):
    """Writes what the tests compare with, without the library."""
    made["cases"] = [{"text": t, "ids": i, "decoded": d} if t != d else {"text": t, "ids": i} for t, i, d in zip(*cases)]
    with open(os.path.join(args.freeze, name + ".json"), "w", encoding="utf-8") as out:
        json.dump(made, out, ensure_ascii=False, separators=(",", ":"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvlab", default="build/release/bin/kvlab")
    parser.add_argument("--text", required=True, nargs="+", help="files to train on")
    parser.add_argument("--strings", type=int, default=10000)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--short", action="store_true", help="short texts")
    parser.add_argument("--family", nargs="*", help="only these: " + " ".join([*families.FAMILIES, *SENTENCEPIECE]))
    parser.add_argument("--folder", help="compare this folder's tokenizer.json instead of trained ones")
    parser.add_argument("--keep", help="a folder for what is made")
    parser.add_argument("--freeze", help="a folder for the cases, as tests/goldens/tokenizers has them")
    args = parser.parse_args()
    book = "".join(open(path, encoding="utf-8").read() for path in args.text)
    if args.folder:
        return 0 if compare(args.folder, args, args.folder, library_cases(args.folder, args, book)) else 1
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.family or [*families.FAMILIES, *SENTENCEPIECE]:
            folder = os.path.join(args.keep or temporary, name)
            os.makedirs(folder, exist_ok=True)
            check = check_sentencepiece if name in SENTENCEPIECE else check_family
            good &= check(name, args, book, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
