#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""llama.cpp, by its Python binding built for this processor: prefill with the logits of every token.

It reads the GGUF file itself and computes with the quantised weights, so it is a reference for speed beside which the
losses are another computation's. Only the prefill is timed: the binding hands logits out, and losses are made of
them here, in numpy.
"""
import argparse
import json
from pathlib import Path

import numpy

import measure


def losses(logits: numpy.ndarray, targets: list[int]) -> list[float]:
    """In blocks, since the logits of all tokens are large already."""
    found: list[float] = []
    for begin in range(0, len(targets), 64):
        block = logits[begin:begin + 64][:len(targets) - begin].astype(numpy.float64)
        top = block.max(axis=1)
        log_sum = top + numpy.log(numpy.exp(block - top[:, None]).sum(axis=1))
        found += (log_sum - block[numpy.arange(len(block)), targets[begin:begin + 64]]).tolist()
    return found


def missing(a: argparse.Namespace) -> str | None:
    try:
        import llama_cpp  # noqa: F401  pylint: disable=import-outside-toplevel,unused-import
    except Exception as error:  # a library that was built elsewhere fails in its own ways
        written = a.reason_file and a.reason_file.is_file()
        return a.reason_file.read_text(encoding="utf-8").strip() if written else f"cannot be loaded: {error}"
    return None


def row_of(version: str, file: Path) -> measure.Row:
    return measure.Row(row="llama_cpp_prefill", program="llama.cpp", version=version, dtype="Q4_1, f16 cache",
                       method=f"none, prefill of {file.name} (weights stay quantised)", acts="never",
                       pair="kvlab_none_bf16")


def main() -> None:
    parser = measure.arguments(__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--reason_file", type=Path, help="why it is missing, if it is: written by setup.sh")
    a = parser.parse_args()
    reason = missing(a)
    if reason:
        measure.print_without_result(row_of("none", a.gguf), "SKIPPED", reason)
        return
    import llama_cpp  # pylint: disable=import-outside-toplevel
    ids = json.loads(a.tokens.read_text(encoding="utf-8"))
    model = llama_cpp.Llama(str(a.gguf), n_ctx=len(ids), logits_all=True, n_threads=a.threads, n_gpu_layers=0,
                            n_threads_batch=a.threads, verbose=False)

    def prefill() -> None:
        model.reset()
        model.eval(ids)

    prefill()
    row = row_of(llama_cpp.__version__, a.gguf)
    for repeat in range(a.repeats):
        watch = measure.Stopwatch()
        prefill()
        seconds, cpu_seconds, other_cpus = watch.read()
        found = losses(model.scores[:len(ids) - 1], ids[1:])
        measure.print_line(row, a.out, repeat, measure.Outcome(len(ids), 1, found, 1.0), seconds, cpu_seconds, other_cpus)


if __name__ == "__main__":
    main()
