#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvpress: DMSPress(Knorm) after every token, or presses once at the end of a prefill.

The first is kvpress's only way to compress while tokens arrive that is exact per token: one token per forward pass,
and the entry that leaves the window is masked if its key is longer than the threshold. The second compresses a
context of half the tokens by half, and then scores the other half in one pass, at its true positions.
"""
import json
from importlib.metadata import version

import torch
from kvpress import DMSPress, KnormPress, ObservedAttentionPress, SnapKVPress, StreamingLLMPress
from transformers import DynamicCache

import measure
import torch_model

RATIO = 0.5
# The press, kvlab's name of the same, and the attention that the press can read.
AT_CONTEXT = {
    "knorm": (KnormPress, "KnormPress", "sdpa"),
    "streaming_llm": (StreamingLLMPress, "StreamingLLMPress", "sdpa"),
    "snapkv": (SnapKVPress, "SnapKVPress", "sdpa"),
    "observed_attention": (ObservedAttentionPress, "ObservedAttentionPress (eager)", "eager")}


def common(dtype: str) -> dict[str, str]:
    return {"program": "kvpress", "version": version("kvpress"), "dtype": dtype}


def kept_entries(cache: DynamicCache, tokens: int) -> float:
    lengths = [layer.keys.shape[2] for layer in cache.layers]
    return sum(lengths) / (len(lengths) * tokens)


def token_by_token(model, ids: torch.Tensor, threshold: float, window: int) -> measure.Outcome:
    press = DMSPress(KnormPress(), threshold=threshold, sliding_window_size=window, decoding=True)
    for layer in model.model.layers:
        layer.self_attn.masked_key_indices = None
    with press(model):
        losses, _ = torch_model.losses_token_by_token(model, ids)
    return measure.Outcome(len(ids), 1, losses, 1 - press.compression_ratio)


def once_at_context(model, ids: torch.Tensor, context: int, press) -> measure.Outcome:
    cache, n = DynamicCache(config=model.config), len(ids)
    with press(model):
        logits = model(ids[None, :context], past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0]
    first = torch_model.losses(logits, ids[context:context + 1])
    # Rotated by the true positions, while the mask goes by places in the cache, which has become shorter.
    logits = model(ids[None, context:], past_key_values=cache, use_cache=True,
                   position_ids=torch.arange(context, n)[None]).logits[0]
    rest = torch_model.losses(logits, ids[context + 1:])
    return measure.Outcome(n, context, torch.cat([first, rest]).tolist(), kept_entries(cache, n))


def main() -> None:
    parser = measure.arguments(__doc__)
    torch_model.add_arguments(parser)
    parser.add_argument("way", choices=("stream", "context"))
    parser.add_argument("--threshold", type=float, default=-17, help="of Knorm in DMSPress")
    parser.add_argument("--window", type=int, default=128, help="of DMSPress")
    a = parser.parse_args()
    model = torch_model.load(a.model, a.dtype, a.threads)
    ids = torch.tensor(json.loads(a.tokens.read_text(encoding="utf-8")))
    if a.way == "stream":
        row = measure.Row(row=f"kvpress_dms_{a.dtype}", pair=f"kvlab_knorm_{a.dtype}", acts="after every token",
                          method=f"DMSPress(KnormPress, threshold={a.threshold:g}, window={a.window}), one token per pass",
                          **common(a.dtype))
        token_by_token(model, ids[:torch_model.WARM_UP_TOKENS], a.threshold, a.window)
        measure.repeat_row(row, a.out, a.repeats, lambda: token_by_token(model, ids, a.threshold, a.window))
        return
    context = len(ids) // 2
    for name, (make, title, attention) in AT_CONTEXT.items():
        model.set_attn_implementation(attention)
        row = measure.Row(row=f"kvpress_context_{name}_{a.dtype}", pair=f"kvlab_context_{name}_{a.dtype}",
                          acts="once, at the end of prefill", method=f"{title}, ratio {RATIO:g}", **common(a.dtype))
        once_at_context(model, ids, context, make(RATIO))
        measure.repeat_row(row, a.out, a.repeats, lambda p=make(RATIO): once_at_context(model, ids, context, p))


if __name__ == "__main__":
    main()
