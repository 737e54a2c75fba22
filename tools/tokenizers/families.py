"""The tokenizer.json of the families that kvlab knows, with small vocabularies trained on a given text."""
import json

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import strings

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MARK = "\u2581"


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(use_regex=True, add_prefix_space=False):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def replace(old, new, kind="String"):
    return {"type": "Replace", "pattern": {kind: old}, "content": new}


def metaspace(scheme, is_split):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": is_split}


def frame(front=None, behind=None):
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    if front:
        single.insert(0, {"SpecialToken": {"id": front, "type_id": 0}})
    if behind:
        single.append({"SpecialToken": {"id": behind, "type_id": 0}})
    tokens = {t: {"id": t, "ids": [0], "tokens": [t]} for t in (front, behind) if t}
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens}


def added(text, special=True, **flags):
    entry = {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": not special,
             "special": special}
    return entry | flags


BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
NFC = {"type": "NFC"}


def fallback_decoder(strip):
    parts = [replace(MARK, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    if strip:
        parts.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return sequence("decoders", *parts)


SPM_ADDED = [added("<unk>"), added("<s>"), added("</s>")]
LLAMA2_NORMALIZER = sequence("normalizers", {"type": "Prepend", "prepend": MARK}, replace(" ", MARK))
MODEL_BYTES, MODEL_FALLBACK = {"by_bytes": True}, {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}

# Name: normalizer, pre_tokenizer, decoder, post_processor, added tokens, model settings.
FAMILIES = {
    "gpt2": (None, byte_level(), BYTE_DECODER, byte_level(), [added("<|endoftext|>")], MODEL_BYTES),
    "smollm": (None, sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level()),
               BYTE_DECODER, None, [added("<|im_start|>"), added("<|im_end|>")], MODEL_BYTES),
    "llama3": (None, sequence("pretokenizers", split(LLAMA3), byte_level(False)), BYTE_DECODER,
               sequence("processors", byte_level(), frame("<|begin_of_text|>")),
               [added("<|begin_of_text|>"), added("<|eot_id|>")], MODEL_BYTES | {"ignore_merges": True}),
    "qwen2": (NFC, sequence("pretokenizers", split(QWEN2), byte_level(False)), BYTE_DECODER, byte_level(),
              [added("<|im_start|>"), added("<tool_call>", False, normalized=False)], MODEL_BYTES),
    "pythia": (NFC, byte_level(), BYTE_DECODER, byte_level(),
               [added("<|endoftext|>"), added("  ", False), added("    ", False), added("co-op", False)],
               MODEL_BYTES),
    "neox_prefix": (None, byte_level(add_prefix_space=True), BYTE_DECODER, byte_level(),
                    [added("<|endoftext|>"), added("<|padding|>")], MODEL_BYTES),
    "tekken": (None, sequence("pretokenizers", split(TEKKEN), byte_level(False)), BYTE_DECODER, frame("<s>"),
               [added("<s>"), added("[INST]")], MODEL_BYTES | {"ignore_merges": True}),
    "llama2": (LLAMA2_NORMALIZER, None, fallback_decoder(True), frame("<s>"), SPM_ADDED, MODEL_FALLBACK),
    "mistral": (None, metaspace("first", False), fallback_decoder(True), frame("<s>", "</s>"),
                SPM_ADDED + [added("[INST]", normalized=True)], MODEL_FALLBACK),
    "tinyllama": (LLAMA2_NORMALIZER, None, fallback_decoder(True), frame("<s>"),
                  SPM_ADDED + [added("<|user|>", normalized=True), added("<pad>", lstrip=True)], MODEL_FALLBACK),
    "phi3": (LLAMA2_NORMALIZER, None, fallback_decoder(True), frame("<s>"),
             SPM_ADDED + [added("<|user|>", rstrip=True), added("<|end|>", rstrip=True)], MODEL_FALLBACK),
    "gemma": (replace(" ", MARK), split(" ", "MergedWithPrevious", kind="String"), fallback_decoder(False),
              frame("<bos>"), [added("<bos>"), added("<eos>"), added("<unk>"), added("\n\n", False, normalized=False)],
              MODEL_FALLBACK),
    "metaspace": (None, metaspace("always", True), {**metaspace("always", True)}, frame("<s>"), SPM_ADDED,
                  MODEL_FALLBACK),
    "words": (sequence("normalizers", {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
                       {"type": "Strip", "strip_left": True, "strip_right": True}, replace(r"\s+", " ", "Regex")),
              sequence("pretokenizers", {"type": "Whitespace"}, {"type": "Digits", "individual_digits": False},
                       {"type": "Punctuation", "behavior": "Contiguous"}),
              sequence("decoders", {"type": "Fuse"}), None,
              [added("[UNK]"), added("word", False, single_word=True)], {"unk_token": "[UNK]", "fuse_unk": False}),
    "splits": ({"type": "NFKC"},
               sequence("pretokenizers", {"type": "WhitespaceSplit"}, split(r"[aeiou]", "MergedWithNext"),
                        split(r"\w{3}", "Removed", True), split("x", "MergedWithPrevious", kind="String"),
                        split(r"[st]", "Contiguous")),
               sequence("decoders", {"type": "Fuse"}), None, [added("[UNK]")],
               {"unk_token": "[UNK]", "fuse_unk": True}),
}


def train(name, text, size):
    """The vocabulary and the merges of short stretches of the text and of random strings. They are not cut into words, so
    that there are merges across every border that a family draws: a wrong border then gives wrong ids."""
    by_bytes = FAMILIES[name][5].get("by_bytes", False)
    tokenizer = Tokenizer(models.BPE())
    stretches = pre_tokenizers.Split(Regex(r"[\s\S]{1,12}"), "isolated")
    if by_bytes:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [stretches, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.normalizer = normalizers.Replace(" ", MARK)
        tokenizer.pre_tokenizer = stretches
        alphabet = []
    words = text.split()
    hard = [strings.random_text(-1 - seed, words, [], 30) for seed in range(1000)]
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, limit_alphabet=max(256, size // 4),
                                  show_progress=False)
    tokenizer.train_from_iterator([text[:100000], *hard], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), model["merges"]


def make(name, text, size):
    """The tokenizer.json of a family, as an object."""
    normalizer, pre, decoder, post, tokens, settings = FAMILIES[name]
    learned, merges = train(name, text, size)
    names = [t["content"] for t in tokens if t["special"]]
    if settings.get("byte_fallback"):
        names += [f"<0x{byte:02X}>" for byte in range(256)]
    vocab = {}
    for token in names + learned:
        vocab.setdefault(token, len(vocab))
    ids, next_id = [], len(vocab)
    for token in tokens:
        known = vocab.get(token["content"])
        ids.append({"id": next_id if known is None else known} | token)
        next_id += known is None
    if post and "single" in str(post):
        post = fill_ids(post, {t["content"]: t["id"] for t in ids})
    model = {"type": "BPE", "dropout": None, "unk_token": settings.get("unk_token"),
             "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": settings.get("fuse_unk", False),
             "byte_fallback": settings.get("byte_fallback", False),
             "ignore_merges": settings.get("ignore_merges", False), "vocab": vocab, "merges": merges}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": ids, "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": post, "decoder": decoder, "model": model}


def fill_ids(post, ids):
    """A template's special tokens with their true ids."""
    if post["type"] == "Sequence":
        return post | {"processors": [fill_ids(p, ids) for p in post["processors"]]}
    if post["type"] != "TemplateProcessing":
        return post
    tokens = {t: entry | {"ids": [ids[t]]} for t, entry in post["special_tokens"].items()}
    return post | {"special_tokens": tokens}
