# SPDX-License-Identifier: Apache-2.0
"""A small random Llama, texts for it, and runs under a press of kvpress: what kvpress_faults.py shows its faults on."""
import torch
from kvpress import ScorerPress
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

LAYERS, QUERY_HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 3, 6, 2, 16, 200

torch.set_grad_enabled(False)
torch.set_num_threads(1)


def make_model() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=96, intermediate_size=128, num_hidden_layers=LAYERS,
                         num_attention_heads=QUERY_HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM,
                         max_position_embeddings=4096, initializer_range=0.2)
    model = LlamaForCausalLM(config).eval()
    model.set_attn_implementation("sdpa")
    return model


MODEL = make_model()


def make_text(length: int, rows: int = 1) -> Tensor:
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(length))


def feed(ids: Tensor, cache: DynamicCache, first: int = 0) -> None:
    positions = torch.arange(first, first + ids.shape[1])
    MODEL(ids, past_key_values=cache, use_cache=True, position_ids=positions[None], cache_position=positions)


def prefill(press, ids: Tensor) -> DynamicCache:
    """The cache after one pass under a press, which is left when the pass is over."""
    for layer in MODEL.model.layers:
        layer.self_attn.masked_key_indices = None
    cache = DynamicCache(config=MODEL.config)
    with press(MODEL):
        feed(ids, cache)
    return cache


def masked(layer: int) -> list[set[int]]:
    """Positions that a press marked as gone, per KV head."""
    indices = MODEL.model.layers[layer].self_attn.masked_key_indices
    return [{int(p) for h, p in zip(indices[1], indices[2]) if h == head} for head in range(KV_HEADS)]


def positions(kept: Tensor, every: Tensor) -> list[int]:
    """Where rows of `kept` stand in `every`, up to rounding, in the order of `kept`."""
    return (kept[:, None] - every[None]).abs().amax(-1).argmin(-1).tolist()


class Noted:
    """What one layer's attention was given and what stands in the cache, taken by a hook."""

    def __init__(self, layer: int):
        self.module = MODEL.model.layers[layer].self_attn
        self.module.rotary_emb = MODEL.model.rotary_emb

    def __call__(self, ids: Tensor) -> "Noted":
        cache = DynamicCache(config=MODEL.config)
        hook = self.module.register_forward_hook(self.take, with_kwargs=True)
        feed(ids, cache)
        hook.remove()
        layer = cache.layers[self.module.layer_idx]
        self.keys, self.values = layer.keys, layer.values
        return self

    def take(self, module, inputs, kwargs, output) -> None:
        self.hidden, self.rotary, self.kwargs = kwargs["hidden_states"], kwargs["position_embeddings"], kwargs

    def score(self, press: ScorerPress, begin: int = 0, end: int | None = None, **kwargs) -> Tensor:
        part = slice(begin, end)
        return press.score(self.module, self.hidden[:, part], self.keys[:, :, part], self.values[:, :, part], None,
                           self.kwargs | kwargs)[0]

    def rotary_of(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        return tuple(x[:, begin:end] for x in self.rotary)


def overlap(a: Tensor, b: Tensor, kept: int) -> float:
    """Share of the best `kept` entries that two scores have in common, over the heads."""
    best = [set(row.topk(kept).indices.tolist()) for row in a], [set(row.topk(kept).indices.tolist()) for row in b]
    return sum(len(x & y) for x, y in zip(*best)) / (kept * len(a))


def decode(press, context: int, tokens: int) -> tuple[DynamicCache, Tensor]:
    """The cache after a context in one pass and tokens one by one, all under a press, and the text."""
    ids, cache = make_text(context + tokens), DynamicCache(config=MODEL.config)
    with press(MODEL):
        feed(ids[:, :context], cache)
        for i in range(context, context + tokens):
            feed(ids[:, i:i + 1], cache, first=i)
    return cache, ids
