# SPDX-License-Identifier: Apache-2.0
"""Attention under a press: entries that a press only marks as gone are hidden exactly, and every layer's keys are noted.

kvpress hides a marked entry by writing a key over its own that should draw no weight. Registered under a name of its own, this
attention gives such entries the weight 0 instead, which is what evicting them does. It also lets a whole continuation be one
forward, whatever the lengths of the layers' caches: all that stood in the cache is visible, and the new tokens are causal.
"""
import math

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "kvlab_exact"


class ExactAttention:
    def __init__(self, give_weights: bool = False):
        self.give_weights = give_weights          # to presses that read attention weights
        self.keys: dict[int, Tensor] = {}         # of the context, by layer: [KV heads, length, head_dim]
        ALL_ATTENTION_FUNCTIONS.register(NAME, self)

    def __call__(self, module, query: Tensor, key: Tensor, value: Tensor, attention_mask, scaling=None, **kwargs):
        new, length = query.shape[2], key.shape[2]
        groups = query.shape[1] // key.shape[1]
        hidden = torch.zeros(*key.shape[:3], dtype=torch.bool)
        if new == length:
            self.keys[module.layer_idx] = key[0].clone()
            module.masked_key_indices = None
        elif getattr(module, "masked_key_indices", None) is not None:
            hidden[tuple(module.masked_key_indices)] = True
        scale = query.shape[-1]**-0.5 if scaling is None else scaling
        logits = query @ key.repeat_interleave(groups, 1).transpose(-2, -1) * scale
        future = torch.ones(new, length, dtype=torch.bool).triu(length - new + 1)
        logits.masked_fill_(future | hidden.repeat_interleave(groups, 1)[:, :, None, :], -math.inf)
        weights = logits.softmax(-1)
        output = (weights @ value.repeat_interleave(groups, 1)).transpose(1, 2).contiguous()
        return output, weights if self.give_weights else None


def positions_of(kept: Tensor, all_keys: Tensor) -> list[list[int]]:
    """Where each head's kept keys [heads, kept, d] stand among all of the context's: keys after rotary differ by position."""
    places = []
    for mine, every in zip(kept, all_keys):
        same = (mine[:, None] == every[None]).all(-1)
        assert (same.sum(-1) == 1).all()
        place = same.float().argmax(-1)
        places.append(sorted(place.tolist()))
    return places
