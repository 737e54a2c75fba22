#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows where kvpress does something else than its descriptions say, on a small random Llama: a few lines each, values printed.

    kvpress_faults.py [NAME ...]     # all, or those named; --list names them

Needs torch, transformers and kvpress only, no files and no network. docs/kvpress.md has the output and what kvlab does instead.
Each demonstration first prints what one should see, then what is seen.
"""
import argparse
import logging
import math
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from kvpress import (AdaKVPress, BlockPress, ChunkKVPress, ChunkPress, CriticalKVPress, DecodingPress, DuoAttentionPress,
                     ExpectedAttentionPress, KnormPress, KVzipPress, LagKVPress, LeverageScorePress, NonCausalAttnPress,
                     PyramidKVPress, RandomPress, SimLayerKVPress, SnapKVPress, StreamingLLMPress)
from kvpress.attention_patch import search_hyperplane
from kvpress.presses import kvzip_press
from kvpress.presses.criticalkv_press import CriticalAdaKVPress
from torch import Tensor
from transformers import DynamicCache

from kvpress_fault_model import (HEAD_DIM, KV_HEADS, LAYERS, MODEL, Noted, decode, feed, make_text, masked, overlap, positions,
                                 prefill)

DEMONSTRATIONS: dict[str, Callable[[], None]] = {}


def demonstration(show: Callable[[], None]) -> Callable[[], None]:
    DEMONSTRATIONS[show.__name__] = show
    return show


def say(what: str, value: object = "") -> None:
    print(f"    {what}{': ' if value != '' else ''}{value}")


# ---------------------------------------------------------------------------------------------------------------------
# Entries that are only marked as gone

@demonstration
def marked_entries_stay() -> None:
    """AdaKV at compression_ratio 0.9 leaves the cache as long as it was."""
    cache = prefill(AdaKVPress(KnormPress(0.9)), make_text(200))
    say("entries per head that should be in the cache", 20)
    say("entries per head in the cache, all layers", [layer.keys.shape[2] for layer in cache.layers])


@demonstration
def fake_keys_draw_weight() -> None:
    """The fake key only has to lie on the right side of every query, not far enough from it."""
    queries = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [-1.0, 1.0 + 1e-6]]])
    key = search_hyperplane(queries)
    logits = (queries[0] @ key[0]) / math.sqrt(queries.shape[-1])
    weight = 100 * logits.exp() / (100 * logits.exp() + 10)
    say("three queries over 10 live entries of logit 0 and 100 marked ones; weight on the marked ones should be", [0.0, 0.0, 0.0])
    say("weight on the marked ones", [round(w, 4) for w in weight.tolist()])


@demonstration
def fake_keys_not_found() -> None:
    """After AdaKV, a question of 32 tokens in one pass asks for one key that all queries of a group point away from."""
    ids = make_text(200)
    cache = prefill(AdaKVPress(KnormPress(0.5)), ids)
    say("a question of 32 tokens after a compressed context of 200 should run")
    try:
        feed(make_text(32), cache, first=200)
        say("it runs")
    except ValueError as error:
        say("ValueError", error)


@demonstration
def fake_keys_overwrite_the_cache() -> None:
    """The fake key is written into the cache itself."""
    ids = make_text(200)
    cache = prefill(AdaKVPress(KnormPress(0.5)), ids)
    before = [layer.keys.clone() for layer in cache.layers]
    feed(make_text(1), cache, first=200)
    changed = sum(int((a != b.keys[:, :, :200]).any(-1).sum()) for a, b in zip(before, cache.layers))
    say("keys of the context that one decoded token should change", 0)
    say("keys changed", f"{changed} of {sum(b.shape[1] * b.shape[2] for b in before)}")


@demonstration
def streaming_heads_grow() -> None:
    """DuoAttention's streaming heads keep sinks and a recent window, but only as the context ended."""
    class Given(DuoAttentionPress):
        def post_init_from_model(self, model):
            self.load_attention_pattern = lambda _: (4, 20, np.array([[0.1, 0.9]] * LAYERS))
            super().post_init_from_model(model)
    cache = prefill(Given(head_compression_ratio=0.5), make_text(200))
    for i in range(50):
        feed(make_text(1), cache, first=200 + i)
    say("entries a streaming head sees after 50 more tokens, at 4 sinks and 20 recent, should be", 24)
    say("entries it sees", cache.layers[0].keys.shape[2] - len(masked(0)[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Scores

@demonstration
def padding_takes_weight() -> None:
    """NonCausalAttnPress writes -1e-9 over the logits of padding where a large negative number was meant."""
    press = NonCausalAttnPress(0.5)
    q = torch.randn(1, 1, 300, HEAD_DIM, generator=torch.Generator().manual_seed(2))
    sums = press.non_causal_chunked_attn(q, q, 256)[0, 0]
    say("300 positions in chunks of 256: the 44 queries of the last chunk should give its 44 keys, by their column sums", 44.0)
    say("the keys of the last chunk get", round(sums[256:].sum().item(), 2))
    say("of that, from the 212 rows of padding, which should give none", round(212 * 44 / 256, 2))
    noted = Noted(1)(make_text(300))
    theirs = noted.score(press)
    press.non_causal_chunked_attn = lambda q, k, chunk: torch.cat(
        [(q[:, :, i:i + chunk] @ k[:, :, i:i + chunk].mT).softmax(-1).sum(-2) for i in range(0, q.shape[2], chunk)], -1)
    say("kept entries in common with a last chunk that is not padded, at half", f"{overlap(theirs, noted.score(press), 150):.3f}")


@demonstration
def short_contexts_are_cut() -> None:
    """LagKVPress gives contexts too short for it a ramp of scores, by which they are cut all the same."""
    ids = make_text(200)
    noted = Noted(0)(ids)
    cache = prefill(LagKVPress(0.5), ids)
    kept = sorted(positions(cache.layers[0].keys[0, 0], noted.keys[0, 0]))
    say("200 positions, 4 sinks, lag 128: entries kept should be", 200)
    say("entries kept", f"{len(kept)}: {kept[:5]} ... {kept[-2:]}, the sinks and the last of the context")


@demonstration
def random_repeats_itself() -> None:
    """RandomPress with a seed restarts its generator in every layer."""
    scores: dict[int, Tensor] = {}
    press = RandomPress(0.5, seed=3)
    plain = press.score
    press.score = lambda module, *a: scores.setdefault(module.layer_idx, plain(module, *a))
    prefill(press, make_text(50))
    say("layers that should draw numbers of their own", LAYERS)
    say("layers that drew the same numbers as layer 0", sum(torch.equal(s, scores[0]) for s in scores.values()))


@demonstration
def leverage_has_no_seed() -> None:
    """LeverageScorePress draws its sketch from the global generator."""
    noted = Noted(1)(make_text(300))
    first, second = noted.score(LeverageScorePress(0.5, sketch_dimension=8)), noted.score(LeverageScorePress(0.5, sketch_dimension=8))
    say("kept entries in common between two runs should be", 1.0)
    say("kept entries in common, at half", f"{overlap(first, second, 150):.3f}")


@demonstration
def critical_turns_negative_scores_around() -> None:
    """CriticalKVPress multiplies scores by output norms; scores below zero fall as the norm grows."""
    noted = Noted(1)(make_text(100))
    press = CriticalKVPress(KnormPress(0.5), first_stage_ratio=0.0)
    before = noted.score(press)[0, 50].item()
    noted.values[:, :, 50] *= 3
    say("an entry whose value grows threefold should score higher")
    say("its score under CriticalKV(Knorm), before and after", [round(before, 3), round(noted.score(press)[0, 50].item(), 3)])


# ---------------------------------------------------------------------------------------------------------------------
# Wrappers that give a scorer less than it needs

@demonstration
def chunks_are_rotated_as_the_end() -> None:
    """ChunkPress cuts hidden states and keys, but hands on the rotations of the whole context."""
    noted = Noted(1)(make_text(600))
    press = SnapKVPress(0.5, window_size=16)
    theirs = noted.score(press, 0, 200)
    ours = noted.score(press, 0, 200, position_embeddings=noted.rotary_of(0, 200))
    say("SnapKV on the first chunk of 200 of 600: kept entries in common with the chunk alone should be", 1.0)
    say("kept entries in common, at a quarter", f"{overlap(theirs[:, :184], ours[:, :184], 50):.3f}")


@demonstration
def blocks_mix_hidden_states() -> None:
    """BlockPress gathers parts of hidden states by the entries that each KV head kept."""
    noted = Noted(1)(make_text(200))
    rows: list[Tensor] = []

    class Looking(KnormPress):
        def score(self, module, hidden_states, keys, *rest):
            rows.append(hidden_states[0])
            return super().score(module, hidden_states, keys, *rest)
    BlockPress(Looking(0.5), 32).compress(noted.module, noted.hidden, noted.keys, noted.values, None, noted.kwargs)
    real = {tuple(row.tolist()) for row in noted.hidden[0]}
    last = rows[-1]
    say("hidden states given to the scorer that belong to no token should be", 0)
    say("hidden states that belong to no token, in the last block", f"{sum(tuple(r.tolist()) not in real for r in last)} of {len(last)}")


@demonstration
def layer_budgets_are_lost() -> None:
    """AdaKVPress takes PyramidKV's scores but not its budgets."""
    ids = make_text(400)
    press = PyramidKVPress(0.5, window_size=16, beta=4)
    alone = [layer.keys.shape[2] for layer in prefill(press, ids).layers]
    prefill(AdaKVPress(press), ids)
    inside = [400 - sum(map(len, masked(layer))) / KV_HEADS for layer in range(LAYERS)]
    say("entries per head and layer that PyramidKV gives", alone)
    say("entries per head and layer inside AdaKV", inside)


@demonstration
def critical_ada_adds_up_the_batch() -> None:
    """CriticalAdaKVPress adds the head budgets of all rows of a batch."""
    ids = make_text(100)
    single = CriticalAdaKVPress(KnormPress(0.5))
    prefill(single, ids)
    alone = masked(1)
    say("two rows of the same text should both lose what one row alone does", f"{sum(map(len, alone))} entries in layer 1")
    try:
        prefill(CriticalAdaKVPress(KnormPress(0.5)), torch.cat([ids, ids]))
        rows, heads, places = MODEL.model.layers[1].self_attn.masked_key_indices
        first = [{int(p) for r, h, p in zip(rows, heads, places) if r == 0 and h == head} for head in range(KV_HEADS)]
        say("of these, lost by the first of two rows", sum(len(a & b) for a, b in zip(alone, first)))
    except RuntimeError as error:
        say("RuntimeError", str(error).splitlines()[0])


@demonstration
def critical_ada_does_not_prepare_its_press() -> None:
    """CriticalAdaKVPress does not pass post_init_from_model on, by which learned scorers load."""
    class Prepared(KnormPress):
        prepared = False

        def post_init_from_model(self, model):
            self.prepared = True
    for wrapper in (AdaKVPress, CriticalAdaKVPress):
        press = wrapper(Prepared(0.5))
        press.post_init_from_model(MODEL)
        say(f"{wrapper.__name__}: its press was prepared (should be True)", press.press.prepared)


@demonstration
def first_row_decides() -> None:
    """ChunkKVPress chooses chunks by the first row of a batch for all rows."""
    one, two = make_text(200), make_text(201)[:, :200]
    alone = prefill(ChunkKVPress(KnormPress(0.5)), two).layers[1].keys[0]
    batched = prefill(ChunkKVPress(KnormPress(0.5)), torch.cat([one, two])).layers[1].keys[1]
    same = sum(((a[:, None] - b[None]).abs().amax(-1) < 1e-4).any(-1).sum().item() for a, b in zip(batched, alone))
    say("entries of a text that it should keep in a batch as well", f"{alone.shape[0] * alone.shape[1]}")
    say("entries that it keeps as the second row of a batch", same)


@demonstration
def lazy_layers_keep_all() -> None:
    """SimLayerKVPress with n_last = n_recent slices from minus zero."""
    cache = prefill(SimLayerKVPress(0.0, n_last=8, n_recent=8), make_text(200))
    say("entries in a lazy layer, 4 first and 8 recent, should be at most", 12)
    say("entries", cache.layers[0].keys.shape[2])


# ---------------------------------------------------------------------------------------------------------------------
# KVzip

@demonstration
def chat_prefix_goes_first() -> None:
    """KVzipPress scores nothing before the context, so that a chat template's first tokens go before all others."""
    class Tokenizer:
        chat_template = "a template"

        @staticmethod
        def from_pretrained(name):
            return Tokenizer

        @staticmethod
        def apply_chat_template(messages, **kwargs):
            return "s" * 30 + messages[0]["content"] + "e" * 5

        @staticmethod
        def encode(text, **kwargs):
            return torch.tensor([[3 + ord(c) % 190 for c in text]])
    before, kvzip_press.AutoTokenizer = kvzip_press.AutoTokenizer, Tokenizer
    prefill(KVzipPress(0.2), make_text(200))
    kvzip_press.AutoTokenizer = before
    gone = [head for layer in range(LAYERS) for head in masked(layer)]
    say("a prefix of 30 tokens, 170 of text, a fifth to go: positions 4 ... 29 should be judged like others")
    say("heads (of all layers) that lost all of them", f"{sum(set(range(4, 30)) <= head for head in gone)} of {len(gone)}")


# ---------------------------------------------------------------------------------------------------------------------
# In decoding

@demonstration
def snapkv_in_decoding() -> None:
    """DecodingPress gives SnapKV the rotation of the current position for all queries of its window."""
    ids, window = make_text(200), 32
    noted = Noted(1)(ids)
    right = noted.score(SnapKVPress(0.5, window_size=window))
    last = noted.score(SnapKVPress(0.5, window_size=window), position_embeddings=noted.rotary_of(199, 200))
    say("kept entries in common with the queries at their own positions should be", 1.0)
    say("kept entries in common when all are rotated as the last, at a quarter", f"{overlap(right[:, :-window], last[:, :-window], 50):.3f}")
    seen: list[int] = []

    class Looking(SnapKVPress):
        def score(self, module, hidden_states, keys, values, attentions, kwargs):
            seen.append(kwargs["position_embeddings"][0].shape[1])
            return super().score(module, hidden_states, keys, values, attentions, kwargs)
    decode(DecodingPress(Looking(window_size=32), compression_interval=40, target_size=100), 120, 40)
    say("rotations that DecodingPress hands to it, of 32 queries", seen[0])


@demonstration
def snapkv_needs_long_intervals() -> None:
    """SnapKV's window has to fit into the hidden states since the last compression."""
    say("SnapKV (window 64) every 32 tokens in decoding should run")
    try:
        decode(DecodingPress(SnapKVPress(), compression_interval=32, target_size=100), 120, 40)
        say("it runs")
    except AssertionError as error:
        say("AssertionError", error)


@demonstration
def expected_attention_in_decoding() -> None:
    """ExpectedAttention takes the length of the buffer of hidden states for the position it stands at."""
    asked: list[tuple[int, int]] = []
    rotary = MODEL.model.rotary_emb
    plain = rotary.forward

    def noting(x, position_ids):
        if position_ids.shape[1] == 512:
            asked.append((int(position_ids[0, 0]), int(position_ids[0, -1])))
        return plain(x, position_ids)
    rotary.forward = noting
    decode(DecodingPress(ExpectedAttentionPress(), compression_interval=32, target_size=300), 400, 32)
    rotary.forward = plain
    say("after 432 tokens the future positions should be", (432, 943))
    say("future positions asked for", asked[0])


@demonstration
def recency_in_decoding() -> None:
    """DecodingPress leaves entries in the order of their scores, and StreamingLLM takes the order for age."""
    cache, ids = decode(DecodingPress(StreamingLLMPress(), compression_interval=20, target_size=60), 100, 60)
    every = Noted(0)(ids).keys[0, 0]
    kept = sorted(positions(cache.layers[0].keys[0, 0], every))
    right = [*range(4), *range(104, 160)]
    say("after 160 tokens, 4 sinks and the 56 latest of 60 should be left", "0-3, 104-159")
    say("left that should not be", [p for p in kept if p not in right])


@demonstration
def second_chunk_is_not_compressed() -> None:
    """A context fed in two passes counts as decoding from the second on."""
    ids, cache = make_text(400), DynamicCache(config=MODEL.config)
    with KnormPress(0.5)(MODEL):
        feed(ids[:, :200], cache)
        feed(ids[:, 200:], cache, first=200)
    say("entries per head of a context of 400 at half should be", 200)
    say("entries per head", cache.layers[0].keys.shape[2])


@demonstration
def ratios_lose_an_entry() -> None:
    """int() of a product that is a little below a whole number."""
    kept = prefill(KnormPress(0.9), make_text(320)).layers[0].keys.shape[2]
    say("a tenth of 320 entries should be", 32)
    say("entries kept at compression_ratio 0.9", kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="those to show")
    parser.add_argument("--list", action="store_true", help="name the demonstrations")
    arguments = parser.parse_args()
    if arguments.list:
        print(*DEMONSTRATIONS, sep="\n")
        return
    if unknown := [name for name in arguments.names if name not in DEMONSTRATIONS]:
        parser.error(f"no demonstration {unknown[0]!r}; --list names them")
    logging.disable(logging.WARNING)
    print(f"kvpress {version('kvpress')}, torch {version('torch')}, transformers {version('transformers')}")
    for name in arguments.names or DEMONSTRATIONS:
        print(f"{name}: {DEMONSTRATIONS[name].__doc__}")
        DEMONSTRATIONS[name]()


if __name__ == "__main__":
    main()
