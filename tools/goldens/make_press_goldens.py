#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compute what kvpress's presses keep and lose on the built-in corpus, for kvlab's tests to compare with.

    make_press_goldens.py MODEL.gguf CORPUS.jsonl OUT.json [--only NAME ...]

The model is transformers' in float32, as in make_corpus_goldens.py, which says how to make an environment. A press sees the context
in one pass and acts at its end; then the continuation is scored with nothing more evicted (the presses of decoding excepted).

The output, with NLLs in nats, positions counted from 0 and heads meaning KV heads:

    document, tokens       a text of the corpus: its id and its first ids, BOS included; a context is tokens[:context]
    baseline               NLLs of the continuation of the longest context, without compression
    presses[name]
        recipe, press      kvlab's recipe and kvpress's constructor
        nll                of the CONTINUATION tokens after the context; entries that a press only marks as gone are hidden exactly
        nll_kvpress        for some such presses: the same with kvpress's own way to hide them, keys that should draw no weight
        kept               entries left, per layer and head (per layer where its heads agree)
        positions          which, per head of the first and the last layer: bit p of a hexadecimal number, the lowest digit last
        scores             what they were chosen by, in the first and the last layer, at positions scores_from and on; null where
                           a press writes infinity over a score
        prompts            of KVzip: the ids fed before each chunk of the context that is to be repeated
"""
import argparse
import contextlib
import hashlib
import json
import math
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from kvpress import KeyRerotationPress, KVzipPress, LeverageScorePress, ScorerPress, SimLayerKVPress
from kvpress.presses import kvzip_press, non_causal_attention_press
from torch import Tensor
from transformers import DynamicCache

import press_attention
import press_inputs
from make_corpus_goldens import BOS, load_model, load_tokenizer, losses
from press_list import PRESSES, Golden, describe

DOCUMENT = 0
CONTEXT = 320
CONTINUATION = 96
DIGITS = 5


# ---------------------------------------------------------------------------------------------------------------------
# What a press draws by chance or loads by name is replaced by what the tests can make

class ChatlessTokenizer:
    """The model's tokenizer without its chat template, so that ids are taken as they are: no prefix, a newline as suffix."""
    chat_template = None

    def __init__(self, tokenizer):
        self.encode = tokenizer.encode

    def from_pretrained(self, name: str):
        return self


@contextlib.contextmanager
def replaced(owner, name: str, value):
    before = vars(owner)[name]   # a static method stays one
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def sketch_of(golden: Golden, layers: int):
    """torch.randn for LeverageScorePress, which draws once a layer, in the layers' order."""
    calls = iter(range(layers))

    def randn(batch: int, heads: int, rows: int, columns: int, **kwargs) -> Tensor:
        layer = next(calls)
        if golden.exact_sketch:
            return (math.sqrt(columns) * torch.eye(rows)).expand(batch, heads, rows, columns)
        return torch.stack([press_inputs.sketch(layer, head, rows, columns) for head in range(heads)])[None]
    return randn


def leverage_in_double(keys: Tensor, columns: int) -> Tensor:
    """LeverageScorePress.compute_leverage_scores in float64: its matrix is so ill-conditioned that float32 loses digits."""
    phi = (torch.randn(keys.shape[0], keys.shape[1], keys.shape[3], columns) / math.sqrt(columns)).double()
    x = (keys.double() - keys.double().mean(-2, keepdim=True)) @ phi
    gram = x.mT @ x + 1e-2 * torch.eye(columns, dtype=torch.float64)
    return (x * torch.linalg.solve(gram, x.mT).mT).sum(-1).clamp_min(0).float()


class PadMask:
    """non_causal_attention_press's torch, with another value where it writes -1e-9 over the logits of padding."""

    def __init__(self, value: float):
        self.value = value

    def __call__(self, q: Tensor, k: Tensor, chunk: int) -> Tensor:
        fill = Tensor.masked_fill_
        with replaced(Tensor, "masked_fill_", lambda t, m, v: fill(t, m, self.value if v == -1e-9 else v)):
            return self.plain(q, k, chunk)

    plain = staticmethod(non_causal_attention_press.NonCausalAttnPress.non_causal_chunked_attn)


@contextlib.contextmanager
def chance_replaced(golden: Golden, model, tokenizer):
    with contextlib.ExitStack() as stack:
        stack.enter_context(replaced(kvzip_press, "AutoTokenizer", ChatlessTokenizer(tokenizer)))
        stack.enter_context(replaced(torch, "bernoulli", lambda p: (p >= 0.5).to(p.dtype)))
        if golden.sketched or golden.exact_sketch:
            stack.enter_context(replaced(torch, "randn", sketch_of(golden, model.config.num_hidden_layers)))
            stack.enter_context(replaced(LeverageScorePress, "compute_leverage_scores", staticmethod(leverage_in_double)))
        if golden.pad_mask is not None:
            press = non_causal_attention_press.NonCausalAttnPress
            stack.enter_context(replaced(press, "non_causal_chunked_attn", PadMask(golden.pad_mask)))
        yield


# ---------------------------------------------------------------------------------------------------------------------
# One press on one context

class Recorder:
    """Notes the scores of the outermost part that gives any, and the entries that a re-rotation keeps."""

    def __init__(self, press):
        self.scores: dict[int, Tensor] = {}
        self.rerotated: dict[int, Tensor] = {}
        self.prompts: list[list[int]] = []   # KVzip: what is fed before each chunk of the context
        self.press = press
        scorer = press
        while not isinstance(scorer, ScorerPress) and hasattr(scorer, "press"):
            scorer = scorer.press
        if isinstance(scorer, ScorerPress):
            plain = scorer.score
            scorer.score = lambda module, *args, **kwargs: self.note(module, plain(module, *args, **kwargs))
        if isinstance(press, KeyRerotationPress):
            press.rerotate_keys = self.rerotate
        if isinstance(press, KVzipPress):
            plain_end = press.compress_post
            press.compress_post = lambda model: self.note_all(press.score_val, plain_end, model)
            plain_start = press.prepare
            press.prepare = lambda *args: self.note_prompts(plain_start(*args))

    def note(self, module, scores: Tensor) -> Tensor:
        self.scores[module.layer_idx] = scores[0].clone()
        return scores

    def note_all(self, scores: Tensor, then, model) -> None:
        self.scores = {layer: s[0].clone() for layer, s in enumerate(scores)}
        then(model)

    def note_prompts(self, chunks: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        self.prompts = [repeat[0, :-chunk.shape[1]].tolist() for chunk, repeat in chunks]
        return chunks

    def rerotate(self, module, indices: Tensor, keys: Tensor) -> Tensor:
        self.rerotated[module.layer_idx] = indices[0]
        return KeyRerotationPress.rerotate_keys(module, indices, keys)


def continue_text(model, cache, ids: Tensor, context: int, first: int, step: int) -> list[float]:
    """NLLs of the tokens after the first of the continuation; `first` is the position of its first token."""
    nll, end = [], context + CONTINUATION - 1
    for begin in range(context, end, step):
        new = ids[begin:min(begin + step, end)]
        positions = torch.arange(begin, begin + len(new)) - context + first
        logits = model(new[None], past_key_values=cache, use_cache=True, position_ids=positions[None],
                       cache_position=positions).logits[0]
        nll += losses(logits, ids[begin + 1:begin + 1 + len(new)])
    return nll


def run(model, ids: Tensor, golden: Golden, press, recorder: Recorder | None, own_hiding: bool) -> tuple[list[float], Any, list]:
    """Losses, the cache right after the context, and what a press marks as gone per layer."""
    model.set_attn_implementation("sdpa" if own_hiding else press_attention.NAME)
    for layer in model.model.layers:
        layer.self_attn.masked_key_indices = None
    cache, context = DynamicCache(config=model.config), golden.context
    with contextlib.ExitStack() as stack:
        inside = stack.enter_context(press(model)) if press is not None else None
        logits = model(ids[None, :context], past_key_values=cache, use_cache=True).logits[0, -1:]
        if not golden.decoding:
            stack.close()
        nll = losses(logits, ids[context:context + 1])
        kept = [layer.keys[0].clone() for layer in cache.layers]
        gone = [layer.self_attn.masked_key_indices for layer in model.model.layers]
        first = kept[0].shape[1] if isinstance(press, KeyRerotationPress) else context
        step = 1 if golden.decoding or own_hiding else CONTINUATION
        nll += continue_text(model, cache, ids, context, first, step)
        if golden.decoding:
            kept = [layer.keys[0] for layer in cache.layers]
    del inside
    return nll, kept, gone


def live_positions(layer: int, kept: Tensor, gone, recorder: Recorder, keys: Tensor) -> list[list[int]]:
    if layer in recorder.rerotated:
        return recorder.rerotated[layer].tolist()
    live = press_attention.positions_of(kept, keys)
    if gone is None:
        return live
    marked = {(int(h), int(p)) for h, p in zip(gone[1], gone[2])}
    return [[p for p in head if (h, p) not in marked] for h, head in enumerate(live)]


def bits(positions: list[int]) -> str:
    return f"{sum(1 << p for p in positions):x}"


def rounded(x: float) -> float | None:
    return float(f"{x:.{DIGITS}g}") if abs(x) < 1e30 else None


def summary(golden: Golden, nll: list[float], live: list[list[list[int]]], recorder: Recorder) -> dict[str, Any]:
    counts = [[len(head) for head in layer] for layer in live]
    ends = (0, len(live) - 1)
    result: dict[str, Any] = {"context": golden.context, "nll": [round(x, DIGITS) for x in nll],
                              "kept": [c[0] if len(set(c)) == 1 else c for c in counts]}
    if not golden.decoding:
        result["positions"] = {str(i): [bits(head) for head in live[i]] for i in ends}
    if golden.scores is not None:
        first, last = golden.scores[0], golden.context - golden.scores[1]
        result["scores_from"] = first
        result["scores"] = {str(i): [[rounded(x) for x in head[first:last]] for head in recorder.scores[i].tolist()] for i in ends}
    return result


def press_golden(model, tokenizer, ids: Tensor, golden: Golden) -> dict[str, Any]:
    attention = press_attention.ExactAttention(golden.weights)
    press = golden.press(model.config)
    described = describe(press)
    if isinstance(press, SimLayerKVPress):
        press.lazy_threshold = lazy_threshold(model, ids, golden)
        golden = replace(golden, recipe=golden.recipe.replace("@lazy", str(press.lazy_threshold)))
        described = describe(press)
    recorder = Recorder(press)
    with chance_replaced(golden, model, tokenizer):
        nll, kept, gone = run(model, ids, golden, press, recorder, own_hiding=False)
    if golden.decoding:
        live = [[list(range(k.shape[1])) for _ in k] for k in kept]
    else:
        live = [live_positions(i, kept[i], gone[i], recorder, attention.keys[i]) for i in range(len(kept))]
    result = {"recipe": golden.recipe, "press": described} | summary(golden, nll, live, recorder)
    if recorder.prompts:
        result["prompts"] = recorder.prompts
    if golden.note:
        result["note"] = golden.note
    if golden.own_hiding:
        again = golden.press(model.config)
        with chance_replaced(golden, model, tokenizer):
            result["nll_kvpress"] = [round(x, DIGITS) for x in run(model, ids, golden, again, None, own_hiding=True)[0]]
    return result


def lazy_threshold(model, ids: Tensor, golden: Golden) -> float:
    """A threshold in a wide gap between the layers' shares, so that a third to two thirds of the layers are lazy."""
    shares: list[float] = []
    press = golden.press(model.config)
    plain = SimLayerKVPress.is_lazy

    def note(self, module, hidden_states, keys, position_embeddings) -> bool:
        low, high = 0.0, 1.0
        for _ in range(24):
            self.lazy_threshold = (low + high) / 2
            low, high = (self.lazy_threshold, high) if plain(self, module, hidden_states, keys, position_embeddings) else (low, self.lazy_threshold)
        shares.append(low)
        self.lazy_threshold = 0.5
        return False
    with replaced(SimLayerKVPress, "is_lazy", note):
        run(model, ids, golden, press, None, own_hiding=False)
    shares.sort()
    middle = range(len(shares) // 3, 2 * len(shares) // 3)
    widest = max(middle, key=lambda i: shares[i + 1] - shares[i])
    return round((shares[widest] + shares[widest + 1]) / 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description="Reference values of kvpress's presses on the built-in corpus.")
    parser.add_argument("model", type=Path, help="the default model, a GGUF file")
    parser.add_argument("corpus", type=Path, help="corpus.jsonl")
    parser.add_argument("out", type=Path, help="the JSON file to write, or to complete with --only")
    parser.add_argument("--only", nargs="+", choices=list(PRESSES), metavar="NAME", help="make these anew, keep the others of the file")
    arguments = parser.parse_args()
    transformers.logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    model, tokenizer = load_model(arguments.model), load_tokenizer(arguments.model)
    document = json.loads(arguments.corpus.read_text(encoding="utf-8").splitlines()[DOCUMENT])
    ids = torch.tensor([BOS] + tokenizer(document["text"], add_special_tokens=False).input_ids)[:CONTEXT + CONTINUATION]
    press_attention.ExactAttention()
    baseline = run(model, ids, Golden("none", lambda c: None), None, None, own_hiding=False)[0]
    goldens: dict[str, Any] = {
        "versions": {p: version(p) for p in ("torch", "transformers", "kvpress", "gguf")} | {"python": platform.python_version()},
        "model": {"file": arguments.model.name, "sha256": hashlib.sha256(arguments.model.read_bytes()).hexdigest()},
        "document": document["id"], "tokens": ids.tolist(), "seed": press_inputs.SEED,
        "baseline": [round(x, DIGITS) for x in baseline], "presses": {}}
    if arguments.only:
        goldens["presses"] = json.loads(arguments.out.read_text(encoding="utf-8"))["presses"]
    for name, golden in PRESSES.items():
        if arguments.only and name not in arguments.only:
            continue
        result = goldens["presses"][name] = press_golden(model, tokenizer, ids, golden)
        mean = sum(result["nll"]) / len(result["nll"])
        flat = [n for c in result["kept"] for n in (c if isinstance(c, list) else [c])]
        print(f"{name}: mean NLL {mean:.4f} (none {sum(baseline) / len(baseline):.4f}), kept {min(flat)} to {max(flat)}", flush=True)
        if "nll_kvpress" in result:
            away = [abs(a - b) for a, b in zip(result["nll"], result["nll_kvpress"])]
            print(f"    hidden kvpress's way: {sum(away) / len(away):.5f} on average, {max(away):.4f} at most", flush=True)
        arguments.out.write_text(json.dumps(goldens, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
