#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""llama.cpp decoding one sequence: tokens per second of greedy steps after a short prompt.

    llama_cpp_decode.py --gguf FILE --context 64 --new 64 --repeats 5 --threads 2

Prints one JSON object. Timed is the step of the model alone with its logits; which token is likeliest is found outside.
"""
import argparse
import json
import statistics
import time
from pathlib import Path

import llama_cpp
import numpy


def decode(model: llama_cpp.Llama, prompt: list[int], count: int) -> tuple[float, float]:
    """Seconds and processor seconds of `count` steps."""
    model.reset()
    model.eval(prompt)
    seconds = cpu = 0.0
    for _ in range(count):
        token = int(numpy.argmax(model.scores[model.n_tokens - 1]))
        start, cpu_start = time.perf_counter(), time.process_time()
        model.eval([token])
        seconds += time.perf_counter() - start
        cpu += time.process_time() - cpu_start
    return seconds, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    model = llama_cpp.Llama(str(a.gguf), n_ctx=a.context + a.new, logits_all=True, n_threads=a.threads, n_gpu_layers=0,
                            n_threads_batch=a.threads, verbose=False)
    text = b"The sun was low over the harbour when the last of the boats came in, and the men on the quay "
    prompt = (model.tokenize(text) * a.context)[:a.context]
    decode(model, prompt, a.new)
    runs = [decode(model, prompt, a.new) for _ in range(a.repeats)]
    speeds = sorted(a.new / seconds for seconds, _ in runs)
    print(json.dumps({
        "program": f"llama.cpp {llama_cpp.__version__}", "tokens_per_second": statistics.median(speeds),
        "slowest": speeds[0], "fastest": speeds[-1],
        "cpu_over_wall": statistics.median(cpu / seconds / a.threads for seconds, cpu in runs)}))


if __name__ == "__main__":
    main()
