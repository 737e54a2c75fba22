# SPDX-License-Identifier: Apache-2.0
"""The model in transformers, for the two peers that run on torch."""
import argparse
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
WARM_UP_TOKENS = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")


def load(folder: Path, dtype: str, threads: int):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype], attn_implementation="sdpa").eval()


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:len(targets)].float(), targets, reduction="none")


def dense_losses(model, ids: Tensor) -> list[float]:
    return losses(model(ids[None], use_cache=False).logits[0], ids[1:]).tolist()


def losses_token_by_token(model, ids: Tensor) -> tuple[list[float], DynamicCache]:
    """One forward pass per token, as in generating; also the cache at the end."""
    cache, parts = DynamicCache(config=model.config), []
    for t in range(len(ids)):
        logits = model(ids[None, t:t + 1], past_key_values=cache, use_cache=True,
                       cache_position=torch.arange(t, t + 1)).logits[0]
        parts.append(losses(logits, ids[t + 1:t + 2]))
    return torch.cat(parts).tolist(), cache
