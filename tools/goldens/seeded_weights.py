# SPDX-License-Identifier: Apache-2.0
"""Random weights that Python and C++ make alike (tests/support/golden_model.cc), so that no weights are committed.

Every tensor has numbers of its own, so that the order of tensors does not matter. With mix64 the finaliser of SplitMix64,

    state    = mix64(mix64(seed XOR fnv1a64(name)))
    uniform  : state = mix64(state), then (state >> 11) * 2^-53
    value    = mean + deviation * sqrt(-2 ln(1 - uniform)) * cos(2 pi uniform)      in float64, rounded to float32

one value after the other, slowest dimension first. The logarithm takes the first of a value's two uniforms.
"""
import math

import numpy as np

MASK = (1 << 64) - 1
MATRIX = (0.0, 0.2)         # mean and deviation of matrices and of all biases: attention is far from uniform
NORM = (1.0, 0.1)           # of norm weights
SHIFTED_NORM = (0.0, 0.1)   # of gemma's norm weights w, which multiply by 1 + w; the file holds w


def mix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def fnv1a64(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def distribution(name: str, model_type: str) -> tuple[float, float]:
    """Mean and deviation of a tensor by its Hugging Face name."""
    if "norm" in name and name.endswith(".weight"):
        return SHIFTED_NORM if model_type.startswith("gemma") else NORM
    return MATRIX


def make_tensor(seed: int, name: str, shape: list[int], mean: float, deviation: float) -> np.ndarray:
    state = mix64(mix64(seed ^ fnv1a64(name)))
    values = np.empty(math.prod(shape), dtype=np.float32)
    for i in range(values.size):
        state = mix64(state)
        radius = math.sqrt(-2 * math.log(1 - (state >> 11) * 2.0**-53))
        state = mix64(state)
        values[i] = mean + deviation * radius * math.cos(2 * math.pi * ((state >> 11) * 2.0**-53))
    return values.reshape(shape)
