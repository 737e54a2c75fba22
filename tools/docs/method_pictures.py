"""Draws what each method keeps, by one run of kvlab, as NAME.png. Usage: method_pictures.py PROGRAM LIST.json OUTPUT
[KVZAP_SCORER_FOLDER]. Methods that need a file of their own get no picture, KVzap only with the folder."""

import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path


OPTIONAL_FILES = {"statistics"}  # parameters that name a file which a method can do without


def recipes_to_draw(parts, has_scorer):
    """(name, recipe) of what can be drawn: a quarter kept where a recipe leaves the budget open, one seed."""
    learned = {m["name"] for m in parts["methods"] if m["learned"]}
    seeded = {m["name"] for m in parts["methods"] if m["seeded"]}
    for method in parts["methods"]:
        drawable = method["name"] == "kvzap" and has_scorer
        needs_file = any(f["range"].startswith("path") and f["name"] not in OPTIONAL_FILES for f in method["parameters"])
        if needs_file or not method.get("takes_budget", True) or (method["learned"] and not drawable):
            continue
        yield method["name"], f"{method['name']}(keep=0.25{',seed=0' if method['seeded'] else ''})"
    for named in parts["named"]:
        scorer = named["recipe"].partition("(")[0]
        if scorer in learned and not has_scorer:
            continue
        decided = re.search(r"threshold=|size=|window=|free_density=", named["recipe"])
        arguments = ([] if decided else ["keep=0.25"]) + (["seed=0"] if scorer in seeded else [])
        yield named["name"], f"{named['name']}({','.join(arguments)})" if arguments else named["name"]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def predicted(left, up, corner):
    """PNG's Paeth predictor."""
    a, b, c = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    return left if a <= b and a <= c else up if b <= c else corner


def unfiltered(rows, height, stride, step):
    """The bytes of a PNG's lines, whose filters say what each byte was predicted from."""
    before = bytes(stride)
    for y in range(height):
        how, line = rows[y * (stride + 1)], bytearray(rows[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        if how in (2, 4) and not any(line):  # as the line above: most lines, and it saves nearly all of the time
            line = before
        elif how == 2:
            line = bytes((a + b) & 255 for a, b in zip(line, before))
        elif how:
            for x in range(stride):
                left, corner = (line[x - step], before[x - step]) if x >= step else (0, 0)
                guess = (left, 0, (left + before[x]) // 2, 0)[how - 1] if how != 4 else predicted(left, before[x], corner)
                line[x] = (line[x] + guess) & 255
        before = bytes(line)
        yield before


# 16 levels of red, green and blue: the letters' soft edges need no more.
COARSE = bytes((v + 8) // 17 * 17 for v in range(256))


def with_palette(png):
    """The same picture with 256 colours at most, at less than half of the size. `png` is 24-bit, as kvlab writes it."""
    at, data, header = 8, b"", b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        header, data = (body if kind == b"IHDR" else header), data + (body if kind == b"IDAT" else b"")
        at += 12 + size
    width, height, depth, colours = struct.unpack(">IIBB", header[:10])
    if (depth, colours) != (8, 2):
        return png
    palette, known, packed = {}, {}, []
    for line in unfiltered(zlib.decompress(data), height, width * 3, 3):
        if line not in known:
            coarse = line.translate(COARSE)
            pixels = (coarse[x : x + 3] for x in range(0, len(coarse), 3))
            known[line] = b"\0" + bytes(min(255, palette.setdefault(p, len(palette))) for p in pixels)
        packed.append(known[line])
    if len(palette) > 256:
        return png
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    body = zlib.compress(b"".join(packed), 9)
    return png[:8] + chunk(b"IHDR", head) + chunk(b"PLTE", b"".join(palette)) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def main(program, list_file, output, scorer=""):
    wanted = list(recipes_to_draw(json.loads(Path(list_file).read_text(encoding="utf-8")), bool(scorer)))
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "compare", "--max_samples", "1", "--max_length", "512", "--dtype", "bf16", "--quiet"]
        command += ["--output_dir", folder] + (["--kvzap_scorer_model", scorer] if scorer else [])
        subprocess.run(command + ["--methods"] + [recipe for _, recipe in wanted], check=True, stdout=sys.stderr)
        rows = json.loads(Path(folder, "comparison_summary.json").read_text(encoding="utf-8"))["methods"][-len(wanted) :]
        for (name, _), row in zip(wanted, rows):
            drawn = Path(folder, re.sub(r'[(),=/\\:*?"<>|]', "_", row["name"]) + "_compression_heatmap.png")
            if drawn.exists():  # a row that could not run here has none
                Path(output, name + ".png").write_bytes(with_palette(drawn.read_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
