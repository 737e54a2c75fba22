# SPDX-License-Identifier: Apache-2.0
"""Policies that keep a number of entries and act after every token, step by step, as plainly as possible.

kvpress cannot run these after every token. One step: token t is appended; its query attends to the live entries, itself
included; then, with n = t + 1 tokens seen, the unprotected entries of least score leave until the budget holds.
Protected are the first `sinks` positions and the last `window`; of equal scores the lower position leaves first.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Two scores closer together than this (relative) may come out in the other order on another machine.
NEAR_TIE = 1e-5


@dataclass(frozen=True)
class Step:
    """What a scorer may look at once the query of token `seen - 1` has attended; entries are in order of position."""
    weights: Tensor       # [heads, group, entries] softmax weights of this query
    weight_sum: Tensor    # [heads, group, entries] summed over the queries since the entry's birth, this one included
    positions: Tensor     # [heads, entries]
    keys: Tensor          # [heads, entries, head dimension]
    seen: int


def score_h2o(step: Step) -> Tensor:
    return step.weight_sum.sum(1)


def score_tova(step: Step) -> Tensor:
    """One score per position for the whole layer, so that all heads lose the same entry."""
    return step.weights.mean((0, 1)).expand(step.positions.shape)


def score_observed_attention(step: Step) -> Tensor:
    return step.weight_sum.mean(1) / (step.seen - step.positions)


def score_knorm(step: Step) -> Tensor:
    return -step.keys.norm(dim=-1)


@dataclass(frozen=True)
class BudgetRun:
    """Keep `size` entries per head, or the fraction `keep` of the tokens seen; the first and the last stay anyway."""
    score: Callable[[Step], Tensor]
    window: int
    sinks: int = 0
    size: int | None = None
    keep: float | None = None

    def limit(self, seen: int) -> int:
        # the small number makes a product like 0.29 * 100 count as the whole number it stands for
        return self.size if self.size is not None else max(1, math.floor(seen * self.keep + 1e-6))


def count_near_ties(sorted_scores: Tensor, leaving: int) -> int:
    """Heads in which the last entry to leave and the first unprotected one to stay have almost the same score."""
    last, first = sorted_scores[:, leaving - 1], sorted_scores[:, leaving]
    return int((first.isfinite() & (first - last <= NEAR_TIE * first.abs())).sum())


def entries_that_stay(run: BudgetRun, step: Step) -> tuple[Tensor, int] | None:
    """Indices [heads, entries that stay] and the number of near ties, or None where nothing leaves."""
    free = (step.positions >= run.sinks) & (step.positions < step.seen - run.window)
    free_per_head = free.sum(1)
    assert (free_per_head == free_per_head[0]).all(), "every head holds the same number of entries"
    entries = step.positions.shape[1]
    leaving = min(entries - run.limit(step.seen), int(free_per_head[0]))
    if leaving <= 0:
        return None
    score = run.score(step).masked_fill(~free, math.inf)
    ordered = score.sort(dim=1, stable=True)    # stable: of equal scores the lower position leaves first
    stay = ordered.indices[:, leaving:].sort(dim=1).values
    return stay, count_near_ties(ordered.values, leaving)


class BudgetAttention:
    """An attention function for transformers that runs a policy query by query inside each layer.

    Layer l at token t needs layer l-1 at tokens <= t and nothing else, so one forward pass over all tokens gives what
    feeding the model one token at a time would give.
    """

    def __init__(self, run: BudgetRun):
        self.run = run
        self.pairs = 0                               # (query, entry) pairs that were visible
        self.near_ties = 0
        self.live: dict[int, list[list[int]]] = {}   # per layer, at the end

    def __call__(self, module, query: Tensor, key: Tensor, value: Tensor, attention_mask, *, scaling: float, **_):
        heads, n, d = key.shape[1:]
        q = query[0].view(heads, -1, n, d)           # query head g of KV head h is query head h * group + g
        group = q.shape[1]
        output = torch.empty(n, heads, group, d)
        positions = torch.empty(heads, 0, dtype=torch.long)
        k, v = torch.empty(heads, 0, d), torch.empty(heads, 0, d)
        weight_sum = torch.empty(heads, group, 0, dtype=torch.float64)
        for t in range(n):
            positions = torch.cat([positions, torch.full((heads, 1), t)], 1)
            k, v = torch.cat([k, key[0, :, t:t + 1]], 1), torch.cat([v, value[0, :, t:t + 1]], 1)
            weights = (q[:, :, t] @ k.transpose(1, 2) * scaling).softmax(-1)
            output[t] = weights @ v
            weight_sum = torch.nn.functional.pad(weight_sum, (0, 1)) + weights
            self.pairs += positions.numel()
            action = entries_that_stay(self.run, Step(weights, weight_sum, positions, k, t + 1))
            if action is not None:
                stay, near_ties = action
                self.near_ties += near_ties
                positions = positions.gather(1, stay)
                k, v = (x.gather(1, stay[:, :, None].expand(-1, -1, d)) for x in (k, v))
                weight_sum = weight_sum.gather(2, stay[:, None].expand(-1, group, -1))
        self.live[module.layer_idx] = positions.tolist()
        return output.view(1, n, heads * group, d), None
