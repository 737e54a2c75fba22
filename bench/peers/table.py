#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Joins the lines of all peers into one table, RESULTS.md and RESULTS.json.

    table.py LINES.jsonl --losses FOLDER --out FOLDER --command TEXT --threads 2
    table.py --check            # runs on canned lines and compares with what has to come out

LINES.jsonl has one line per repeat, as measure.py describes it. Needs nothing but Python.
"""
import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

CLEAN_SHARE = 0.96   # of the threads: below it something else may have had the processors
BAR = ("kvlab_knorm_bf16", "kvpress_dms_bf16", 20.0)

NOTES = (
    "Every program runs alone, in a process of its own, one after another, on the same weights (the default model "
    "dequantised to float32 and rounded to bf16 in bf16 rows) and the same token ids. llama.cpp alone reads the GGUF "
    "file, whose weights stay quantised while it computes: its losses belong to a slightly different model.",
    "Time is that of the model, the method and the losses, after a warm-up; loading is counted for nobody, and neither "
    "is making losses of llama.cpp's logits. tokens/s is the median of the repeats, in brackets the slowest and the "
    "fastest. A row of one repeat has no spread.",
    "CPU/wall is the median processor time over wall time; a row below 0.96 of the threads is not clean: either the "
    "program left processors idle or something else had them. `others` tells which: how many processors everything "
    "else on the machine kept busy meanwhile.",
    "kept: entries in the cache at the end, as a share of layers x KV heads x tokens. kvpress's DMSPress masks "
    "instead of evicting, so its cache stays whole in memory; its figure is what it does not mask.",
    "|dNLL|: mean over the tokens that both rows score of the absolute difference to the row of kvlab that "
    "computes the same, in nats.",
    "Read f32 rows for whether methods agree: there the programs do the same up to rounding. kvpress masks by putting a "
    "fake key in the place of an evicted one; what that adds would show in DMSPress's f32 row. Knorm has near ties in the "
    "first layer, where a key depends on its token only, and rounding decides which of two equal ones goes: hence the "
    "larger difference of KnormPress at the end of a prefill, which keeps a number of entries.",
    "In bf16 the programs round at different places: torch rounds every result, the logits included (those from 16 to 32 "
    "to steps of 0.125), kvlab the operands of products and the cache. Most of a bf16 row's |dNLL| is what bf16 changes "
    "within the peer itself; see the table above.",
)


@dataclass
class TableRow:
    row: str
    program: str
    version: str
    method: str
    dtype: str
    acts: str
    pair: str | None
    status: str
    reason: str | None = None
    tokens: int | None = None
    repeats: int = 0
    speed: float | None = None      # tokens/s, median of the repeats
    slowest: float | None = None
    fastest: float | None = None
    cpu_wall: float | None = None
    other_cpus: float | None = None
    clean: bool | None = None
    kept: float | None = None
    nll: float | None = None
    delta: float | None = None      # mean absolute difference to the pair's losses
    ratio: float | None = None      # the pair's speed / this row's
    rounding: float | None = None   # of bf16 rows: mean absolute difference to the same program's f32 row

    @property
    def name(self) -> str:
        return f"{self.program}: {self.method}"


# ---------------------------------------------------------------------------------------------------------------------
# Joining

def group(lines: Iterable[dict]) -> dict[str, list[dict]]:
    rows: dict[str, list[dict]] = {}
    for line in lines:
        rows.setdefault(line["row"], []).append(line)
    return rows


def table_row(lines: list[dict], read_losses: Callable[[str], list[float]], threads: int) -> TableRow:
    identity = {key: lines[0][key] for key in ("row", "program", "version", "method", "dtype", "acts", "pair")}
    broken = [line for line in lines if line["status"] != "OK"]
    if broken:
        return TableRow(**identity, status=broken[0]["status"], reason=broken[0]["reason"])
    speeds = [line["tokens"] / line["seconds"] for line in lines]
    cpu_wall = statistics.median(line["cpu_seconds"] / line["seconds"] for line in lines)
    return TableRow(
        **identity, status="OK", tokens=lines[0]["tokens"], repeats=len(lines), speed=statistics.median(speeds),
        slowest=min(speeds), fastest=max(speeds), cpu_wall=cpu_wall, clean=cpu_wall >= CLEAN_SHARE * threads,
        other_cpus=statistics.median(line["other_cpus"] for line in lines), kept=lines[0]["kept"],
        nll=statistics.fmean(read_losses(lines[0]["losses"])))


def mean_difference(first: dict, second: dict, read_losses: Callable[[str], list[float]]) -> float | None:
    """Over the tokens that both score; a shorter run is compared with the beginning of the longer one."""
    ours, theirs = ({line["first"] + k: loss for k, loss in enumerate(read_losses(line["losses"]))}
                    for line in (first, second))
    common = sorted(ours.keys() & theirs.keys())
    return statistics.fmean(abs(ours[t] - theirs[t]) for t in common) if common else None


def join(lines: Iterable[dict], read_losses: Callable[[str], list[float]], threads: int) -> list[TableRow]:
    grouped = group(lines)
    rows = {name: table_row(of_row, read_losses, threads) for name, of_row in grouped.items()}
    for row in rows.values():
        pair = rows.get(row.pair) if row.pair else None
        if row.status == "OK" and pair and pair.status == "OK":
            row.delta = mean_difference(grouped[row.row][0], grouped[pair.row][0], read_losses)
            row.ratio = pair.speed / row.speed
        in_f32 = rows.get(row.row.removesuffix("_bf16") + "_f32")
        if row.status == "OK" and in_f32 and in_f32.status == "OK" and in_f32 is not row:
            row.rounding = mean_difference(grouped[row.row][0], grouped[in_f32.row][0], read_losses)
    return list(rows.values())


# ---------------------------------------------------------------------------------------------------------------------
# Printing

def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def speed_text(row: TableRow) -> str:
    if row.speed is None:
        return "-"
    digits = 1 if row.speed < 100 else 0
    spread = f" ({number(row.slowest, digits)}–{number(row.fastest, digits)})" if row.repeats > 1 else ""
    return number(row.speed, digits) + spread


def status_text(row: TableRow) -> str:
    if row.status != "OK":
        return f"{row.status}: {row.reason}"
    return "OK" if row.clean else "not clean"


def markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    numbers = {"tokens", "tokens/s", "CPU/wall", "others", "kept", "mean NLL", "|dNLL|", "kvlab / peer",
               "|bf16 - f32|"}
    # A bar would end the cell.
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    rule = ["---:" if name in numbers else "---" for name in head]
    return ["| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]]]


def main_table(rows: list[TableRow]) -> list[str]:
    head = ["program and method", "type", "tokens", "exact per token? acts", "tokens/s", "CPU/wall", "others", "kept", "mean NLL",
            "|dNLL|", "status"]
    return markdown_table(head, [
        [row.name, row.dtype, number(row.tokens, 0), row.acts, speed_text(row), number(row.cpu_wall, 2),
         number(row.other_cpus, 2), number(row.kept, 4), number(row.nll, 4), number(row.delta, 5), status_text(row)]
        for row in rows])


def ratio_table(rows: list[TableRow]) -> list[str]:
    names = {row.row: row for row in rows}
    return markdown_table(["kvlab", "peer", "type", "kvlab / peer", "|dNLL|"], [
        [names[row.pair].method, row.name, f"{names[row.pair].dtype} / {row.dtype}", f"{row.ratio:.1f}x",
         number(row.delta, 5)] for row in rows if row.ratio is not None])


def rounding_table(rows: list[TableRow]) -> list[str]:
    return markdown_table(["program and method", "|bf16 - f32|"], [
        [row.name, number(row.rounding, 5)] for row in rows if row.rounding is not None])


def bar_line(rows: list[TableRow]) -> str:
    ours, theirs, bar = BAR
    found = next((row for row in rows if row.row == theirs), None)
    what = f"Exact per token, Knorm by threshold in bf16, kvlab ({ours}) beside kvpress ({theirs}): "
    if found is None or found.ratio is None:
        return what + f"not measured (the bar is {bar:g}x)."
    verdict = "met" if found.ratio >= bar else "MISSED"
    pair = next(row for row in rows if row.row == ours)
    if not (found.clean and pair.clean):
        verdict += ", by rows that are not clean"
    return what + f"{found.ratio:.1f}x at {found.tokens:,} tokens; the bar of {bar:g}x is {verdict}."


def versions(rows: list[TableRow]) -> str:
    return ", ".join(f"{program} {version}" for program, version in
                     sorted({(row.program, row.version) for row in rows if row.version != "none"}))


def machine_text(environment: dict) -> str:
    flags = [flag for flag in environment.get("cpu_flags", []) if flag.startswith(("avx512", "amx"))]
    return (f"{environment.get('cpu')}, {environment.get('hardware_threads')} processors"
            f"{' with ' + ', '.join(flags) if flags else ''}; {environment.get('os')}; {environment.get('compiler')}")


def markdown(rows: list[TableRow], command: str, environment: dict, extra: list[str]) -> str:
    unclean = sum(row.clean is False for row in rows)
    lines = [f"Made by `{command}`", "", "# kvlab beside its peers", "",
             f"- Date: {environment.get('date')}", f"- Machine: {machine_text(environment)}",
             f"- Versions: {versions(rows)}", *(f"- {text}" for text in extra)]
    if unclean:
        lines.append(f"- **{unclean} of {len(rows)} rows are not clean**; see CPU/wall and others below.")
    return "\n".join([*lines, "", bar_line(rows), "", *main_table(rows), "", "## ratio: kvlab's speed / the peer's", "",
                      *ratio_table(rows), "", "## What bf16 changes", "",
                      "Mean absolute difference of a program's losses in bf16 to its own in f32, in nats.", "",
                      *rounding_table(rows), "", "## Notes", "", *(f"- {note}" for note in NOTES), ""])


# ---------------------------------------------------------------------------------------------------------------------
# The check

def canned_lines() -> list[dict]:
    def line(row: str, pair: str | None, seconds: float, **more) -> dict:
        return {"row": row, "program": row.split("_", 1)[0], "version": "1.0", "method": "m|n", "dtype": "bf16",
                "acts": "never", "pair": pair, "tokens": 100, "seconds": seconds, "cpu_seconds": 2 * seconds,
                "other_cpus": 0.01, "kept": 0.5, "first": 1, "losses": row, "status": "OK", "reason": None} | more

    return [line("kvlab_knorm_bf16", None, 0.1), line("kvlab_knorm_bf16", None, 0.2),
            line("kvlab_knorm_bf16", None, 0.125),
            line("kvpress_dms_bf16", "kvlab_knorm_bf16", 4.0, cpu_seconds=6.0, other_cpus=0.4),
            line("late_start", "kvlab_knorm_bf16", 1.0, first=3),
            line("kvlab_knorm_f32", None, 0.25, losses="f32"),
            {"row": "absent", "program": "llama.cpp", "version": "none", "method": "m", "dtype": "Q4", "acts": "never",
             "pair": "kvlab_knorm_bf16", "status": "SKIPPED", "reason": "not built"}]


def check() -> None:
    losses = {"kvlab_knorm_bf16": [1.0, 2.0, 3.0], "kvpress_dms_bf16": [1.5, 2.0, 2.5], "late_start": [3.25], "f32": [1.0, 2.25, 3.5]}
    rows = {row.row: row for row in join(canned_lines(), losses.__getitem__, threads=2)}
    ours, theirs = rows["kvlab_knorm_bf16"], rows["kvpress_dms_bf16"]
    assert (ours.speed, ours.slowest, ours.fastest, ours.repeats) == (800.0, 500.0, 1000.0, 3), ours
    assert (ours.nll, ours.clean, ours.delta, ours.ratio) == (2.0, True, None, None), ours
    assert (theirs.clean, theirs.cpu_wall, theirs.ratio) == (False, 1.5, 32.0), theirs
    assert abs(theirs.delta - 1 / 3) < 1e-12, theirs
    assert (ours.rounding, theirs.rounding, rows["kvlab_knorm_f32"].rounding) == (0.25, None, None), ours
    assert rows["late_start"].delta == 0.25, rows["late_start"]
    assert rows["absent"].speed is None and rows["absent"].ratio is None, rows["absent"]
    text = markdown(list(rows.values()), "run.sh", {"cpu": "test"}, [])
    for expected in (
            "| kvlab: m\\|n | bf16 | 100 | never | 800 (500–1,000) | 2.00 | 0.01 | 0.5000 | 2.0000 | - | OK |",
            "| kvpress: m\\|n | bf16 | 100 | never | 25.0 | 1.50 | 0.40 | 0.5000 | 2.0000 | 0.33333 | not clean |",
            "| - | - | - | - | - | - | SKIPPED: not built |", "32.0x at 100 tokens; the bar of 20x is met, by rows that are not clean.",
            "**1 of 5 rows are not clean**",
            "| m\\|n | kvpress: m\\|n | bf16 / bf16 | 32.0x | 0.33333 |", "| kvlab: m\\|n | 0.25000 |"):
        assert expected in text, f"not in the table: {expected}\n{text}"
    clean = [line | {"cpu_seconds": 2 * line.get("seconds", 0)} for line in canned_lines()]
    assert "the bar of 20x is met." in bar_line(join(clean, losses.__getitem__, 2))
    slow = [line | {"seconds": 1.0} if line["row"] == "kvpress_dms_bf16" else line for line in canned_lines()]
    assert "the bar of 20x is MISSED" in bar_line(join(slow, losses.__getitem__, 2))
    assert "not measured" in bar_line([])
    with tempfile.TemporaryDirectory() as folder:
        write(list(rows.values()), text, Path(folder))
        assert json.loads((Path(folder) / "RESULTS.json").read_text(encoding="utf-8"))[1]["ratio"] == 32.0
    print("table.py: OK")


# ---------------------------------------------------------------------------------------------------------------------

def write(rows: list[TableRow], text: str, folder: Path) -> None:
    (folder / "RESULTS.md").write_text(text, encoding="utf-8")
    (folder / "RESULTS.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path, nargs="?")
    parser.add_argument("--losses", type=Path, help="folder of the losses")
    parser.add_argument("--out", type=Path, help="folder for RESULTS.md and RESULTS.json")
    parser.add_argument("--command", default="", help="the command that made this, for the first line")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--note", action="append", default=[], help="a line for the head, for example how long it took")
    parser.add_argument("--check", action="store_true", help="check this script on canned lines")
    a = parser.parse_args()
    if a.check:
        check()
        return
    if not (a.lines and a.losses and a.out):
        parser.error("LINES.jsonl, --losses and --out are needed, or --check")
    lines = [json.loads(line) for line in a.lines.read_text(encoding="utf-8").splitlines()]
    rows = join(lines, lambda file: json.loads((a.losses / file).read_text(encoding="utf-8")), a.threads)
    if not rows:
        sys.exit(f"{a.lines}: no lines, so nothing ran")
    environment_file = a.losses / "environment.json"
    environment = json.loads(environment_file.read_text(encoding="utf-8")) if environment_file.is_file() else {}
    text = markdown(rows, a.command, environment, a.note)
    write(rows, text, a.out)
    print(text)


if __name__ == "__main__":
    main()
