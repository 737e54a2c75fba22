# SPDX-License-Identifier: Apache-2.0
"""What the peers' scripts share: their arguments, the timing of a repeat, and the JSON line that tells of it.

A line is one repeat of one row of the table:

    row, program, version, method, dtype    what ran; `row` is the key that repeats and pairs go by
    acts                                    when the method acts ("after every token", ...)
    pair                                    the row of kvlab that computes the same, or null
    tokens, scored                          tokens in, and losses out
    seconds, cpu_seconds                    wall time, and processor time of all threads of the process
    other_cpus                              processors that everything else on the machine kept busy meanwhile
    kept                                    entries in the cache at the end / entries there would be, or null
    first, losses                           losses[k] in this file is that of token first + k, in nats
    status, reason                          OK, SKIPPED or FAILED; other lines than OK have no figures
"""
import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    row: str
    program: str
    version: str
    method: str
    dtype: str
    acts: str
    pair: str | None


@dataclass(frozen=True)
class Outcome:
    tokens: int
    first: int
    losses: Sequence[float]
    kept: float | None


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tokens", type=Path, required=True, help="JSON array of token ids")
    parser.add_argument("--out", type=Path, required=True, help="folder for the losses")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def print_line(row: Row, out: Path, repeat: int, outcome: Outcome, seconds: float, cpu_seconds: float,
               other_cpus: float) -> None:
    file = out / f"{row.row}.{repeat}.json"
    file.write_text(json.dumps([float(x) for x in outcome.losses]) + "\n", encoding="utf-8")
    print(json.dumps(asdict(row) | {
        "repeat": repeat, "tokens": outcome.tokens, "scored": len(outcome.losses), "seconds": seconds,
        "cpu_seconds": cpu_seconds, "other_cpus": max(0.0, other_cpus), "kept": outcome.kept,
        "first": outcome.first, "losses": file.name, "status": "OK", "reason": None}), flush=True)


def print_without_result(row: Row, status: str, reason: str) -> None:
    print(json.dumps(asdict(row) | {"status": status, "reason": reason}), flush=True)


def machine_busy_seconds() -> float:
    """Processor seconds that anything on the machine has used since it started."""
    fields = [int(x) for x in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class Stopwatch:
    """Wall time, own processor time, and what the rest of the machine did meanwhile."""

    def __init__(self, who: int = resource.RUSAGE_SELF):
        self.who = who
        self.busy, self.cpu, self.wall = machine_busy_seconds(), own_cpu_seconds(who), time.perf_counter()

    def read(self) -> tuple[float, float, float]:
        seconds = time.perf_counter() - self.wall
        cpu = own_cpu_seconds(self.who) - self.cpu
        return seconds, cpu, (machine_busy_seconds() - self.busy - cpu) / seconds


def repeat_row(row: Row, out: Path, repeats: int, run: Callable[[], Outcome]) -> None:
    """Times `run` and prints a line per repeat. What it needs (model, warm-up) is there before."""
    for repeat in range(repeats):
        watch = Stopwatch()
        try:
            outcome = run()
        except Exception as error:  # pylint: disable=broad-except
            print_without_result(row, "FAILED", f"{type(error).__name__}: {error}")
            return
        seconds, cpu_seconds, other_cpus = watch.read()
        print_line(row, out, repeat, outcome, seconds, cpu_seconds, other_cpus)
