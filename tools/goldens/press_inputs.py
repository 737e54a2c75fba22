# SPDX-License-Identifier: Apache-2.0
"""Weights that some presses need, made by formulas that the tests repeat (tests/golden/press_inputs.cc): no file is committed.

Tensors come from seeded_weights.make_tensor(SEED, name, ...), so a name and a shape say all:

    q_filters               [layers, KV heads, head_dim]             deviation 0.2
    head_scores             [layers, KV heads]                       mean 0.5, deviation 0.2, clipped to [0, 1]
    layers.<l>.weight       [KV heads, hidden]                       deviation 0.2; KVzap's linear scorer of layer l
    layers.<l>.bias         [KV heads]                               deviation 0.2
    query_mean              [layers, query heads, head_dim]          deviation 0.2
    query_factor            [layers, query heads, head_dim, 4]       deviation 0.2; covariance = factor times its transpose
    ratios                  1/4, 1/2 and 3/4 by turns from layer to layer

The Gaussian sketch of leverage scores, element (i, c) of layer l and KV head h with `columns` columns, is

    sqrt(-2 ln(1 - u(2e))) cos(2 pi u(2e + 1)) / sqrt(columns)      in float64, e = i * columns + c

where u(p) = entry_uniform(seed=0, document=0, layer=l, head=h, position=p) of src/base/random.h.
"""
import math

import numpy as np
import torch
from torch import Tensor

from seeded_weights import make_tensor, mix64

SEED = 7
DEVIATION = 0.2
FACTOR_COLUMNS = 4


def tensor(name: str, shape: list[int], mean: float = 0.0) -> Tensor:
    return torch.from_numpy(make_tensor(SEED, name, shape, mean, DEVIATION))


def head_scores(layers: int, heads: int) -> np.ndarray:
    return np.clip(tensor("head_scores", [layers, heads], 0.5).numpy(), 0, 1)


def query_covariance(layers: int, heads: int, size: int) -> Tensor:
    factor = tensor("query_factor", [layers, heads, size, FACTOR_COLUMNS])
    return factor @ factor.transpose(-2, -1)


def layer_ratios(layers: int) -> list[float]:
    return [(0.25, 0.5, 0.75)[layer % 3] for layer in range(layers)]


def mix64_of(x: np.ndarray) -> np.ndarray:
    """seeded_weights.mix64, element by element."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def entry_uniforms(seed: int, document: int, layer: int, head: int, count: int) -> np.ndarray:
    """Of positions 0 ... count - 1."""
    state = mix64(mix64(mix64(seed) ^ document) ^ (layer << 32 | head))
    return (mix64_of(np.uint64(state) ^ np.arange(count, dtype=np.uint64)) >> np.uint64(40)) * 2.0**-24


def sketch(layer: int, head: int, rows: int, columns: int) -> Tensor:
    """The Gaussian matrix before its division by sqrt(columns)."""
    uniform = entry_uniforms(0, 0, layer, head, 2 * rows * columns)
    values = np.sqrt(-2 * np.log(1 - uniform[0::2])) * np.cos(2 * math.pi * uniform[1::2])
    return torch.from_numpy(values.reshape(rows, columns).astype(np.float32))
