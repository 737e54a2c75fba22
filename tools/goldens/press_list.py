# SPDX-License-Identifier: Apache-2.0
"""Which presses of kvpress the goldens hold, and the kvlab recipe that should do the same.

In a recipe `keep` is 1 - compression_ratio, and @name stands for a file made by press_inputs.py's formulas.
"""
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from kvpress import (AdaKVPress, BlockPress, CAMPress, CapPress, ChunkKVPress, ChunkPress, CompactorPress, CriticalKVPress, CURPress,
                     DecodingPress, DMSPress, DuoAttentionPress, ExpectedAttentionPress, KeyDiffPress, KeyRerotationPress,
                     KnormPress, KVzipPress, LagKVPress, LeverageScorePress, MergingPress, NonCausalAttnPress,
                     ObservedAttentionPress, PerLayerCompressionPress, PyramidKVPress, QFilterPress, ScorerPress, SimLayerKVPress,
                     SnapKVPress, TOVAPress)
from kvpress.presses.base_press import BasePress
from kvpress.presses.criticalkv_press import CriticalAdaKVPress
from kvpress.presses.expected_attention_with_stats import ExpectedAttentionStatsPress
from kvpress.presses.kvzap_press import KVzapPress
from torch import Tensor

import press_inputs as inputs


@dataclass(frozen=True)
class Golden:
    recipe: str | None                     # None: no recipe does the same; the note says why
    press: Callable[[Any], Any]            # from the model's configuration
    context: int = 320
    scores: tuple[int, int] | None = None  # positions [first, context - second) have scores worth comparing; None: not recorded
    weights: bool = False                  # the press reads attention weights
    sketched: bool = False                 # torch.randn gives press_inputs.sketch
    exact_sketch: bool = False             # torch.randn gives the identity times sqrt(columns), so that nothing is sketched
    unpadded: bool = False                 # non-causal attention whose last chunk is not filled up
    own_hiding: bool = False               # also with kvpress's own way to hide what it marks as gone, token by token
    decoding: bool = False                 # the press acts on the continuation, fed token by token
    note: str = ""


@torch.no_grad()
def kvzap_linear(config) -> KVzapPress:
    """KVzap's linear scorer with the formula's weights."""
    layers = []
    for layer in range(config.num_hidden_layers):
        linear = torch.nn.Linear(config.hidden_size, config.num_key_value_heads)
        linear.weight.copy_(inputs.tensor(f"layers.{layer}.weight", [config.num_key_value_heads, config.hidden_size]))
        linear.bias.copy_(inputs.tensor(f"layers.{layer}.bias", [config.num_key_value_heads]))
        layers.append(linear)
    press = KVzapPress()
    press.kvzap_model = torch.nn.Module()
    press.kvzap_model.layers = torch.nn.ModuleList(layers)
    press.post_init_from_model = lambda model: None
    return press


def qfilter(config) -> QFilterPress:
    press = QFilterPress(0.5)
    press.q_filters = inputs.tensor("q_filters", [config.num_hidden_layers, config.num_key_value_heads, config.head_dim])
    press.post_init_from_model = lambda model: None
    return press


def statistics(config) -> ExpectedAttentionStatsPress:
    press = ExpectedAttentionStatsPress(0.5)
    sizes = [config.num_hidden_layers, config.num_attention_heads, config.head_dim]
    press.mu, press.cov = inputs.tensor("query_mean", sizes), inputs.query_covariance(*sizes)
    return press


class GivenHeads(DuoAttentionPress):
    """Streaming heads by given scores; kvpress itself loads those of its six models."""

    def post_init_from_model(self, model):
        scores = inputs.head_scores(model.config.num_hidden_layers, model.config.num_key_value_heads)
        self.load_attention_pattern = lambda _: (4, 64, scores)
        super().post_init_from_model(model)


class SummedAttentionPress(ScorerPress):
    """H2O's rule: the sum of the weights that an entry drew, over the queries and the heads of the group."""

    def score(self, module, hidden_states, keys, values, attentions, kwargs) -> Tensor:
        sums = attentions.sum(2)
        return sums.view(*keys.shape[:2], -1, keys.shape[2]).sum(2)


def per_layer(config) -> PerLayerCompressionPress:
    return PerLayerCompressionPress(KnormPress(0.5), [1 - keep for keep in inputs.layer_ratios(config.num_hidden_layers)])


ALL, SINKS, WINDOW = (0, 0), (4, 0), (0, 64)

PRESSES: dict[str, Golden] = {
    # Scorers
    "leverage_score exact": Golden(
        "leverage_score(sketch=0,keep=0.5,at=context)", lambda c: LeverageScorePress(0.5, sketch_dimension=c.head_dim),
        scores=ALL, exact_sketch=True, note="no sketch: its matrix is the identity; in float64"),
    "leverage_score": Golden("leverage_score(keep=0.5,at=context)", lambda c: LeverageScorePress(0.5), scores=ALL, sketched=True,
                             note="the sketch of press_inputs.py; in float64"),
    "compactor exact": Golden(
        "compactor(sketch=0,keep=0.5,at=context)", lambda c: CompactorPress(0.5, sketch_dimension=c.head_dim),
        scores=(8, 4), exact_sketch=True, note="no sketch: its matrix is the identity; in float64"),
    "compactor": Golden("compactor(keep=0.25,at=context)", lambda c: CompactorPress(0.75), scores=(8, 4), sketched=True,
                        note="the sketch of press_inputs.py; in float64"),
    "non_causal@256": Golden("non_causal_attention(keep=0.25,at=context)", lambda c: NonCausalAttnPress(0.75), context=256, scores=ALL),
    "non_causal@320": Golden("non_causal_attention(keep=0.75,at=context)", lambda c: NonCausalAttnPress(0.25), scores=ALL),
    "non_causal@320 unpadded": Golden(
        "non_causal_attention(pad=none,keep=0.75,at=context)", lambda c: NonCausalAttnPress(0.25), scores=ALL, unpadded=True,
        note="the last chunk is not filled up: neither keys nor queries of padding take part"),
    "cap": Golden("cap(keep=0.5,at=context)", lambda c: CapPress(0.5), scores=SINKS),
    "cap sharper": Golden("cap(tau=10,future=64,keep=0.25,at=context)", lambda c: CapPress(0.75, tau=10, n_future_positions=64)),
    "qfilter": Golden("qfilter(model=@q_filters,keep=0.5,at=context)", qfilter, scores=ALL),
    "expected_attention mean": Golden(
        "expected_attention(covariance=no,keep=0.5,at=context)", lambda c: ExpectedAttentionPress(0.5, use_covariance=False), scores=SINKS),
    "expected_attention no vnorm": Golden(
        "expected_attention(vnorm=no,future=128,keep=0.25,at=context)",
        lambda c: ExpectedAttentionPress(0.75, use_vnorm=False, n_future_positions=128), scores=SINKS),
    "expected_attention statistics": Golden(
        "expected_attention(statistics=@query_statistics,keep=0.5,at=context)", statistics, scores=SINKS),
    "snapkv narrow": Golden("snapkv(queries=16,kernel=1,keep=0.25,at=context)", lambda c: SnapKVPress(0.75, 16, 1)),
    "snapkv wide": Golden("snapkv(queries=32,kernel=13,keep=0.5,at=context)", lambda c: SnapKVPress(0.5, 32, 13), scores=(0, 32)),
    "lagkv": Golden("lagkv(keep=0.75,at=context)", lambda c: LagKVPress(0.25), scores=(4, 188), note="one partition is scored"),
    "lagkv short": Golden("lagkv(keep=0.5,at=context)", lambda c: LagKVPress(0.5), context=224, note="too short to score: a ramp"),
    "lagkv across": Golden("lagkv(lag=32,cross_scoring=yes,keep=0.5,at=context)", lambda c: LagKVPress(0.5, lag_size=32, cross_scoring=True),
                           scores=(4, 60)),
    "cur key": Golden("cur(leverage=key,keep=0.5,at=context)", lambda c: CURPress(0.5, leverage_type="key"), scores=SINKS),
    "cur value": Golden("cur(leverage=value,keep=0.5,at=context)", lambda c: CURPress(0.5, leverage_type="value")),
    "cur average": Golden("cur(leverage=kv_avg,keep=0.25,at=context)", lambda c: CURPress(0.75, leverage_type="kv_avg")),
    "observed_attention@0.75": Golden(
        "observed_attention(keep=0.25,at=context)", lambda c: ObservedAttentionPress(0.75), scores=ALL, weights=True),
    "h2o": Golden("h2o(keep=0.5,at=context)", lambda c: SummedAttentionPress(0.5), scores=ALL, weights=True,
                  note="not a press of kvpress: ObservedAttentionPress without its division"),
    # Context reconstruction
    "kvzip": Golden("kvzip(keep=0.5,at=context)", lambda c: KVzipPress(0.5), scores=SINKS),
    "kvzip@0.75": Golden("kvzip(keep=0.25,at=context)", lambda c: KVzipPress(0.75)),
    "kvzip by layer": Golden("kvzip(scope=layer,keep=0.5,at=context)", lambda c: KVzipPress(0.5, layerwise=True)),
    "kvzip chunks": Golden("kvzip(chunk=128,keep=0.5,at=context)", lambda c: KVzipPress(0.5, chunk_size=128), scores=SINKS),
    "kvzip plus": Golden("kvzip(plus=yes,keep=0.5,at=context)", lambda c: KVzipPress(0.5, kvzip_plus_normalization=True), scores=SINKS, own_hiding=True),
    "kvzip plus by layer": Golden("kvzip(plus=yes,scope=layer,keep=0.25,at=context)",
                                  lambda c: KVzipPress(0.75, kvzip_plus_normalization=True, layerwise=True)),
    # Shares of a budget
    "adakv+snapkv alpha 0": Golden("adakv(of=snapkv,safeguard=0,keep=0.25,at=context)", lambda c: AdaKVPress(SnapKVPress(0.75), 0.0)),
    "adakv+snapkv": Golden("adakv(of=snapkv,safeguard=0.2,keep=0.25,at=context)", lambda c: AdaKVPress(SnapKVPress(0.75), 0.2), own_hiding=True),
    "adakv+snapkv alpha 0.9": Golden("adakv(of=snapkv,safeguard=0.9,keep=0.25,at=context)", lambda c: AdaKVPress(SnapKVPress(0.75), 0.9)),
    "adakv+expected_attention epsilon": Golden(
        "adakv(of=expected_attention(epsilon=0.01),keep=0.25,at=context)", lambda c: AdaKVPress(ExpectedAttentionPress(0.75, epsilon=0.01)),
        scores=SINKS),
    "criticalkv+adakv+expected_attention": Golden(
        "criticalkv(of=adakv(of=expected_attention(vnorm=no)),keep=0.5,at=context)",
        lambda c: CriticalAdaKVPress(ExpectedAttentionPress(0.5, use_vnorm=False))),
    "criticalkv+adakv+snapkv": Golden("criticalkv(of=adakv(of=snapkv),keep=0.25,at=context)", lambda c: CriticalAdaKVPress(SnapKVPress(0.75))),
    "criticalkv+knorm": Golden("criticalkv(of=knorm,keep=0.5,at=context)", lambda c: CriticalKVPress(KnormPress(0.5)), scores=ALL),
    "criticalkv+snapkv": Golden("criticalkv(of=snapkv,keep=0.5,at=context)", lambda c: CriticalKVPress(SnapKVPress(0.5)), scores=WINDOW),
    "pyramidkv steep": Golden("pyramidkv(of=snapkv(queries=16),beta=4,keep=0.25,at=context)", lambda c: PyramidKVPress(0.75, 16, beta=4)),
    "pyramidkv level": Golden("pyramidkv(of=snapkv,beta=1,keep=0.5,at=context)", lambda c: PyramidKVPress(0.5, beta=1)),
    "pyramidkv too little": Golden("pyramidkv(of=snapkv,beta=20,keep=0.25,at=context)", lambda c: PyramidKVPress(0.75)),
    "per layer+knorm": Golden("knorm(budget=@ratios,at=context)", per_layer),
    "simlayerkv": Golden("simlayerkv(lazy=@lazy,recent=64,sinks=4,at=context)", lambda c: SimLayerKVPress(0.5, n_recent=64)),
    "duo_attention": Golden("duo_attention(head_ratio=0.5,sinks=4,window=64,model=@head_scores,at=context)",
                            lambda c: GivenHeads(head_compression_ratio=0.5), own_hiding=True),
    "kvzap threshold": Golden("kvzap(model=@kvzap,threshold=0,sinks=0,window=128,at=context)",
                              lambda c: DMSPress(kvzap_linear(c), threshold=0.0), scores=(0, 128)),
    # What is chosen together or in turn
    "chunkkv+expected_attention": Golden("chunkkv(of=expected_attention,keep=0.25,at=context)", lambda c: ChunkKVPress(ExpectedAttentionPress(0.75))),
    "chunkkv+snapkv": Golden("chunkkv(of=snapkv,chunk=9,keep=0.5,at=context)", lambda c: ChunkKVPress(SnapKVPress(0.5), 9)),
    "chunked+knorm": Golden("chunked(of=knorm,chunk=64,keep=0.5,at=context)", lambda c: ChunkPress(KnormPress(0.5), 64)),
    "chunked+keydiff": Golden("chunked(of=keydiff,chunk=100,keep=0.25,at=context)", lambda c: ChunkPress(KeyDiffPress(0.75), 100)),
    "blockwise+knorm": Golden("blockwise(of=knorm,block=32,keep=0.5,at=context)", lambda c: BlockPress(KnormPress(0.5), 32)),
    "blockwise+keydiff": Golden("blockwise(of=keydiff,block=32,keep=0.5,at=context)", lambda c: BlockPress(KeyDiffPress(0.5), 32)),
    "blockwise+keydiff@0.75": Golden("blockwise(of=keydiff,block=50,keep=0.25,at=context)", lambda c: BlockPress(KeyDiffPress(0.75), 50)),
    # What changes entries
    "rerotate+snapkv": Golden("rerotate(of=snapkv,keep=0.5,at=context)", lambda c: KeyRerotationPress(SnapKVPress(0.5))),
    "merge+knorm": Golden("merge(of=knorm,keep=0.5,at=context)", lambda c: MergingPress(KnormPress(0.5))),
    "merge+snapkv": Golden("merge(of=snapkv,keep=0.25,at=context)", lambda c: MergingPress(SnapKVPress(0.75))),
    "merge+keydiff gated": Golden("merge(of=keydiff,similarity=0.5,fraction=0.75,keep=0.5,at=context)",
                                  lambda c: MergingPress(KeyDiffPress(0.5), 0.5, 0.75)),
    # In decoding
    "decoding knorm": Golden("two_phase(context=none,decode=knorm(size=256,every=32,sinks=0,window=0))",
                             lambda c: DecodingPress(KnormPress(), 32, 256), decoding=True),
    "decoding keydiff": Golden("two_phase(context=none,decode=keydiff(size=256,every=32,sinks=0,window=0))",
                               lambda c: DecodingPress(KeyDiffPress(), 32, 256), decoding=True),
    "decoding tova": Golden("two_phase(context=none,decode=tova(size=256,every=32,sinks=0,window=1))",
                            lambda c: DecodingPress(TOVAPress(), 32, 256), decoding=True),
    "cam+knorm": Golden(None, lambda c: CAMPress(KnormPress(), 16, 256), decoding=True,
                        note="kvlab's cam takes the scorer's own attention and evicts head by head; here a merge happens if its "
                             "probability is at least one half, instead of by chance"),
}


def describe(press) -> str:
    """The press as its constructor takes it, without tensors and what it finds out later."""
    if isinstance(press, CriticalKVPress):   # no dataclass
        arguments = {name: getattr(press, name) for name in ("press", "epsilon", "first_stage_ratio")}
    else:
        arguments = {f.name: getattr(press, f.name) for f in fields(press) if f.init and not f.name.startswith("_")}
    shown = (f"{name}={describe(value) if isinstance(value, BasePress) else value}" for name, value in arguments.items())
    return f"{type(press).__name__}({', '.join(shown)})"
