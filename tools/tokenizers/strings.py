"""Random Unicode texts that are hard on tokenizers."""
import random
import unicodedata

RANGES = [(0x20, 0x7F), (0xA0, 0x180), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xA00),
          (0xE00, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x2150), (0x2150, 0x2C00),
          (0x3000, 0x3100), (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xF900, 0xFA00), (0xFB00, 0xFB50), (0xFE00, 0x10000),
          (0x1D400, 0x1D500), (0x1F130, 0x1F190), (0x1F300, 0x1F700), (0x20000, 0x20100), (0xE0020, 0xE0080)]
PIECES = ["\U0001F468\u200D\U0001F469\u200D\U0001F467", "\U0001F1E9\U0001F1EA", "\u270C\U0001F3FD", "e\u0301", "\u00e9",
          "\u212B", "\uFB01", "\u0130", "\u1E9E", "\uAC01", "\u1100\u1161\u11A8", "a\u0323\u0307", "\u180E", "\u0085", "\uFEFF",
          "\u2581", "\u2581\u2581", "\u00A0", "\u3000", "\u200B", "12345", "3.14", "\u0663", "\u00BD", "\u2167", "I'm", "WE'VE",
          "don\u2019t", "'\u017F", "'S", "\r\n", "\n\n", "\n", "\t", "  ", "    ", "a  b", " x", "x ", "<0x0A>", "_", "__init__",
          "http://a.b/c?d=e", "word", "sword", "words", "CamelCase", "\u01C5"]


def is_stable(char):
    """Assigned long ago, so that libraries of different years agree on it."""
    category = unicodedata.ucd_3_2_0.category(char)
    return category not in ("Cn", "Cs", "Co") and unicodedata.category(char) == category


ALPHABET = [[c for c in map(chr, range(low, high)) if is_stable(c)] for low, high in RANGES]
ALPHABET = [group for group in ALPHABET if group]
CONTROLS = [chr(c) for c in range(1, 32)] + ["\x7f"]


def random_text(seed, words, special, most):
    """A text of at most `most` pieces from a seed: of words from a book, whole ranges of Unicode, and special tokens."""
    rng = random.Random(seed)
    out = []
    for _ in range(min(most, rng.choice([0, 1, 2, 3, 5, 8, 13, 30]))):
        kind = rng.random()
        if kind < 0.35:
            out.append(rng.choice(words) + rng.choice(["", " ", " ", " ", ", "]))
        elif kind < 0.6:
            out.append(rng.choice(PIECES))
        elif kind < 0.8:
            out.append("".join(rng.choices(rng.choice(ALPHABET), k=rng.randint(1, 4))))
        elif kind < 0.9:
            out.append(rng.choice([" ", "\n", "\t", "a", "1", "!", "\u4e2d"]) * rng.randint(1, 20))
        elif kind < 0.93:
            out.append(rng.choice(CONTROLS))
        elif special:
            out.append(rng.choice(["", " ", "  "]) + rng.choice(special) + rng.choice(["", " ", "\n "]))
    return "".join(out)
