#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvlab's own rows: `kvlab compare` over the same tokens, which are given as one document per repeat.

One process runs all recipes of one number type and protocol. `compare` warms up before it times, and times the model,
the method and the losses, without loading and without the comparison with the baseline; that is what is taken here.
"""
import json
import resource
import subprocess
from pathlib import Path

import measure

EXACT = "after every token"
ONCE = "once, at the end of prefill"


def recipes(protocol: str, threshold: float, window: int) -> dict[str, str]:
    if protocol == "stream":
        return {"none": "none",
                "streaming_llm": "streaming_llm(sinks=4,window=128)",
                "knorm": f"knorm(threshold={threshold:g},window={window},sinks=0)",
                "h2o": "h2o(keep=0.5)"}
    return {"context_none": "none",
            "context_knorm": "knorm(keep=0.5,at=context)",
            "context_streaming_llm": "streaming_llm(keep=0.5,sinks=4,at=context)",
            "context_snapkv": "snapkv(keep=0.5,queries=64,at=context)",
            "context_observed_attention": "observed_attention(keep=0.5,at=context)"}


def compare(kvlab: Path, a, methods: dict[str, str], context: int | None, folder: Path) -> dict:
    """Runs all methods on the text once; returns detailed_results.json."""
    ids = json.loads(a.tokens.read_text(encoding="utf-8"))
    documents = folder / "documents.jsonl"
    documents.write_text(json.dumps({"id": "text", "ids": ids}) + "\n", encoding="utf-8")
    command = [str(kvlab), "compare", "--model", str(a.model), "--data_path", str(documents), "--tokens_field", "ids",
               "--dtype", a.dtype, "--threads", str(a.threads), "--token_nll", "--no_heatmaps", "--quiet",
               "--output_dir", str(folder), "--methods", *(m for m in methods.values() if m != "none")]
    if context:
        command += ["--protocol", "prefix", "--context", str(context)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "detailed_results.json").read_text(encoding="utf-8"))


def print_rows(results: dict, methods: dict[str, str], a, context: int | None, other_cpus: float) -> None:
    baseline, others = results["methods"][0], [m for m in results["methods"][1:] if not m["name"].startswith("Baseline")]
    ran = dict(zip((name for name, recipe in methods.items() if recipe != "none"), others, strict=True))
    for name, recipe in methods.items():
        found = baseline if recipe == "none" else ran[name]
        acts = "never" if recipe == "none" else ONCE if context else EXACT
        method = f"{recipe}, prefix {context}" if context else recipe
        row = measure.Row(row=f"kvlab_{name}_{a.dtype}", program="kvlab", method=method, dtype=a.dtype, acts=acts,
                          version=results["environment"]["kvlab_version"], pair=None)
        if not found["documents"]:
            measure.print_without_result(row, found["status"], found["reason"])
        for repeat, document in enumerate(found["documents"]):
            kept = document["entries"]["kept"] / document["entries"]["all"]
            outcome = measure.Outcome(document["tokens"], context or 1, document["token_nll"], kept)
            measure.print_line(row, a.out, repeat, outcome, document["seconds"], document["cpu_seconds"], other_cpus)


def main() -> None:
    parser = measure.arguments(__doc__)
    parser.add_argument("--kvlab", type=Path, required=True, help="the program")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    parser.add_argument("--threshold", type=float, default=-17, help="of knorm")
    parser.add_argument("--window", type=int, default=128, help="of knorm")
    parser.add_argument("protocol", choices=("stream", "prefix"))
    a = parser.parse_args()
    context = len(json.loads(a.tokens.read_text(encoding="utf-8"))) // 2 if a.protocol == "prefix" else None
    methods = recipes(a.protocol, a.threshold, a.window)
    folder = a.out / f"kvlab_{a.protocol}_{a.dtype}"
    folder.mkdir(exist_ok=True)
    watch = measure.Stopwatch(resource.RUSAGE_CHILDREN)
    # One run a repeat: repeats in one run would be a batch, and share their products.
    results = compare(a.kvlab, a, methods, context, folder)
    for _ in range(1, a.repeats):
        again = compare(a.kvlab, a, methods, context, folder)
        for method, more in zip(results["methods"], again["methods"], strict=True):
            method["documents"] += more["documents"]
    _, _, other_cpus = watch.read()
    (a.out / "environment.json").write_text(json.dumps(results["environment"]), encoding="utf-8")
    print_rows(results, methods, a, context, other_cpus)


if __name__ == "__main__":
    main()
