#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compute the reference values that kvlab's tests compare with, for the built-in corpus and the default model.

    make_corpus_goldens.py MODEL.gguf CORPUS.jsonl OUT.json

Nothing of kvlab runs here: the model is transformers', read from the GGUF file and dequantised to float32, and the
policies are either kvpress's or the plain versions in step_by_step.py. Everything runs on the CPU.

An environment for it:

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 transformers==5.2.0 kvpress==0.5.5 gguf==0.19.0 accelerate==1.15.0

The output, with NLLs in nats, positions counted from 0 and heads meaning KV heads:

    documents[i].tokens      ids of the first 320 tokens, a BOS included as the first
    documents[i].baseline    nll[t] = -log p(token t+1 | tokens 0..t), without compression, in one forward pass
    documents[i].stream      per recipe: the same under a policy that acts while the tokens arrive
        evicted              share of all entries (layers x heads x tokens) that is gone after the last action
        seen                 pairs of a query and an entry it could see, as a share of the causal pairs
        near_ties            choices (per layer, head and action) that rounding could have turned around; 0 means that
                             another float32 program should evict exactly the same entries
        live_at_end          positions left per head, in the first and the last layer
"""
import argparse
import hashlib
import json
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from kvpress import DMSPress, KnormPress, ScorerPress
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from step_by_step import BudgetAttention, BudgetRun, score_h2o, score_knorm, score_observed_attention, score_tova

BOS = 1
LENGTH = 320                     # tokens per document, BOS included
STREAMED_DOCUMENTS = (0, 2, 4)   # one of each kind
DIGITS = 5                       # decimals in the output


# ---------------------------------------------------------------------------------------------------------------------
# Model, tokens, losses

def load_model(gguf: Path):
    return AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()


def load_tokenizer(gguf: Path):
    """The GGUF file's tokenizer. transformers does not read its `pre` field ("smollm"), which asks for single digits."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return tokenizer


def losses(logits: Tensor, targets: Tensor) -> list[float]:
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none").tolist()


def loss_of_one_pass(model, ids: Tensor) -> list[float]:
    return losses(model(ids[None], use_cache=False).logits[0, :-1], ids[1:])


def summary(nll: list[float]) -> dict[str, Any]:
    return {"ppl": round(math.exp(sum(nll) / len(nll)), DIGITS), "nll": [round(x, DIGITS) for x in nll]}


# ---------------------------------------------------------------------------------------------------------------------
# Policies of kvpress: a threshold on a score that is known when the entry is written

@dataclass
class SinksOnlyPress(ScorerPress):
    """Score 1 for the first tokens and 0 for all others: with a threshold of 0.5 this is StreamingLLM."""
    sinks: int = 4

    def score(self, module, hidden_states, keys, values, attentions, kwargs) -> Tensor:
        return (kwargs["cache_position"] < self.sinks).float().expand(keys.shape[:3]).clone()


@dataclass(frozen=True)
class ThresholdRun:
    scorer: Callable[[], ScorerPress]
    threshold: float
    window: int
    every: int = 1


def gone_entries(model) -> list[Tensor]:
    """Per layer: which entries kvpress masks, as two rows (heads, positions)."""
    masked = (getattr(layer.self_attn, "masked_key_indices", None) for layer in model.model.layers)
    return [torch.zeros(2, 0, dtype=torch.long) if m is None else torch.stack(m[1:]) for m in masked]


def live_positions(gone: Tensor, heads: int, length: int) -> list[list[int]]:
    alive = torch.ones(heads, length, dtype=torch.bool)
    alive[gone[0], gone[1]] = False
    return [row.nonzero()[:, 0].tolist() for row in alive]


def run_threshold(model, ids: Tensor, run: ThresholdRun) -> dict[str, Any]:
    """Feed `every` tokens at a time; kvpress evicts after each forward pass, so the next tokens see what is left."""
    model.set_attn_implementation("sdpa")
    press = DMSPress(run.scorer(), threshold=run.threshold, sliding_window_size=run.window, decoding=True)
    cache, nll, hidden_pairs, n = DynamicCache(config=model.config), [], 0, len(ids)
    with press(model):
        for begin in range(0, n, run.every):
            end = min(begin + run.every, n)
            if begin > 0:
                hidden_pairs += sum(g.shape[1] for g in gone_entries(model)) * (end - begin)
            positions = torch.arange(begin, end)
            logits = model(ids[None, begin:end], past_key_values=cache, use_cache=True, cache_position=positions).logits[0]
            targets = ids[begin + 1:end + 1]
            nll += losses(logits[:len(targets)], targets)
    gone, heads, layers = gone_entries(model), model.config.num_key_value_heads, model.config.num_hidden_layers
    evicted = sum(g.shape[1] for g in gone) / (layers * heads * n)
    assert abs(evicted - press.compression_ratio) < 1e-6
    return summary(nll) | {
        "evicted": round(evicted, DIGITS),
        "seen": round(1 - hidden_pairs / (layers * heads * n * (n + 1) / 2), DIGITS),
        "live_at_end": {str(i): live_positions(gone[i], heads, n) for i in (0, layers - 1)}}


# ---------------------------------------------------------------------------------------------------------------------
# Policies that keep a number of entries

def run_budget(model, ids: Tensor, run: BudgetRun) -> dict[str, Any]:
    attention = BudgetAttention(run)
    ALL_ATTENTION_FUNCTIONS.register("kvlab_budget", attention)
    model.set_attn_implementation("kvlab_budget")
    nll = loss_of_one_pass(model, ids)
    heads, layers, n = model.config.num_key_value_heads, model.config.num_hidden_layers, len(ids)
    live = sum(len(positions) for layer in attention.live.values() for positions in layer)
    return summary(nll) | {
        "evicted": round(1 - live / (layers * heads * n), DIGITS),
        "seen": round(attention.pairs / (layers * heads * n * (n + 1) / 2), DIGITS),
        "near_ties": attention.near_ties,
        "live_at_end": {str(i): attention.live[i] for i in (0, layers - 1)}}


# ---------------------------------------------------------------------------------------------------------------------
# All runs, by recipe

RUNS: dict[str, ThresholdRun | BudgetRun] = {
    "streaming_llm(sinks=4,window=64)": ThresholdRun(SinksOnlyPress, threshold=0.5, window=64),
    "knorm(threshold=-16,sinks=0,window=64)": ThresholdRun(KnormPress, threshold=-16, window=64),
    "knorm(threshold=-16,sinks=0,window=64,every=32)": ThresholdRun(KnormPress, threshold=-16, window=64, every=32),
    "h2o(size=96,sinks=0,window=48)": BudgetRun(score_h2o, size=96, window=48),
    "tova(size=96)": BudgetRun(score_tova, size=96, window=1),
    "observed_attention(keep=0.5,sinks=0,window=32)": BudgetRun(score_observed_attention, keep=0.5, window=32),
    "knorm(keep=0.5,sinks=4,window=32)": BudgetRun(score_knorm, keep=0.5, sinks=4, window=32),
}


def run_recipe(model, ids: Tensor, recipe: str) -> dict[str, Any]:
    run = RUNS[recipe]
    return run_threshold(model, ids, run) if isinstance(run, ThresholdRun) else run_budget(model, ids, run)


def document_goldens(model, tokenizer, document: dict[str, str], with_stream: bool) -> dict[str, Any]:
    all_ids = torch.tensor([BOS] + tokenizer(document["text"], add_special_tokens=False).input_ids)
    ids = all_ids[:LENGTH]
    model.set_attn_implementation("sdpa")
    whole = loss_of_one_pass(model, all_ids)
    goldens: dict[str, Any] = {
        "id": document["id"],
        "sha256": hashlib.sha256(document["text"].encode()).hexdigest(),
        "text_tokens": len(all_ids) - 1,
        "tokens": ids.tolist(),
        "baseline_whole_text": {"ppl": round(math.exp(sum(whole) / len(whole)), DIGITS), "predicted": len(whole)},
        "baseline": summary(loss_of_one_pass(model, ids))}
    print(f"{document['id']}: {goldens['text_tokens']} tokens, whole text ppl {goldens['baseline_whole_text']['ppl']:.4f}, "
          f"first {LENGTH} ppl {goldens['baseline']['ppl']:.4f}", flush=True)
    if with_stream:
        goldens["stream"] = {}
        for recipe in RUNS:
            result = goldens["stream"][recipe] = run_recipe(model, ids, recipe)
            print(f"  {recipe}: ppl {result['ppl']:.4f}, evicted {result['evicted']}, seen {result['seen']}", flush=True)
    return goldens


def main() -> None:
    parser = argparse.ArgumentParser(description="Reference values for the built-in corpus.")
    parser.add_argument("model", type=Path, help="the default model, a GGUF file")
    parser.add_argument("corpus", type=Path, help="corpus.jsonl")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    model, tokenizer = load_model(arguments.model), load_tokenizer(arguments.model)
    documents = [json.loads(line) for line in arguments.corpus.read_text(encoding="utf-8").splitlines()]
    goldens = {
        "versions": {p: version(p) for p in ("torch", "transformers", "kvpress", "gguf")} | {"python": platform.python_version()},
        "model": {"file": arguments.model.name, "sha256": hashlib.sha256(arguments.model.read_bytes()).hexdigest()},
        "documents": [document_goldens(model, tokenizer, d, i in STREAMED_DOCUMENTS) for i, d in enumerate(documents)]}
    arguments.out.write_text(json.dumps(goldens, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
