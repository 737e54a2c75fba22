# SPDX-License-Identifier: Apache-2.0
"""The tiny models of make_architecture_goldens.py: each differs from the others in what the name says."""
from dataclasses import dataclass
from typing import Any

COMMON = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 128, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}
GROUPED = {**COMMON, "num_key_value_heads": 2}
LLAMA = {**GROUPED, "rms_norm_eps": 1e-5}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
GEMMA = {**GROUPED, "head_dim": 32, "tie_word_embeddings": True, "sliding_window": 16}

# With these scalings transformers' result depends on how the text is cut into forwards.
DYNAMIC_NOTE = ("Dynamic scaling takes the frequencies of a forward from the last position in it, while cached keys keep the "
                "rotation that they got. These values are forwards of one token each, with a cache, as in decoding.")
LONGROPE_NOTE = ("transformers takes the long factors for all tokens of a forward that ends beyond "
                 "original_max_position_embeddings, and its generate() computes the whole cache anew on the way. These "
                 "values are one forward over all ids, all of them with the long factors.")


@dataclass
class Variant:
    name: str
    model_type: str
    settings: dict[str, Any]
    whole_only: bool = False          # defined for one forward over all ids only
    stepwise: bool = False            # computed by forwards of one token each
    gguf: bool = True                 # a GGUF file can say all that the model needs
    note: str = ""
    tokens: int = 56


def longrope(original: int, context: int) -> dict[str, Any]:
    """Rotates 12 of a head's 16 dimensions, as Phi-4-mini does three quarters of them."""
    return {"max_position_embeddings": context, "original_max_position_embeddings": original, "partial_rotary_factor": 0.75,
            "rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0,
                                "short_factor": [1.0, 1.02, 1.05, 1.1, 1.3, 1.5],
                                "long_factor": [1.0, 1.1, 1.5, 2.2, 3.1, 4.0]}}


def neox(**settings: Any) -> dict[str, Any]:
    return {**COMMON, "hidden_act": "gelu", **settings}


VARIANTS = [
    Variant("llama-mha", "llama", {**LLAMA, "num_key_value_heads": 4}),
    Variant("llama-gqa-bias", "llama", {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    Variant("llama-tied", "llama", {**LLAMA, "tie_word_embeddings": True, "head_dim": 32}),
    Variant("llama3.1", "llama", {**LLAMA, "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}}),
    Variant("llama-linear", "llama", {**LLAMA, "rope_parameters": {
        "rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    Variant("llama-dynamic", "llama", {**LLAMA, "max_position_embeddings": 32, "rope_parameters": {
        "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}, stepwise=True, gguf=False, note=DYNAMIC_NOTE),
    Variant("llama-dynamic-short", "llama", {**LLAMA, "max_position_embeddings": 64, "rope_parameters": {
        "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}, gguf=False,
            note="The text is shorter than max_position_embeddings, where dynamic scaling does nothing."),
    Variant("llama-yarn", "llama", {**LLAMA, "rope_parameters": YARN}),
    Variant("llama-yarn-factor", "llama", {**LLAMA, "max_position_embeddings": 256, "rope_parameters": {
        **YARN, "original_max_position_embeddings": 64, "attention_factor": 1.3, "beta_fast": 2.0, "beta_slow": 0.3}}),
    Variant("llama-yarn-mscale", "llama", {**LLAMA, "rope_parameters": {**YARN, "mscale": 1.5, "mscale_all_dim": 0.5}}),
    Variant("llama-yarn-exact", "llama", {**LLAMA, "rope_parameters": {**YARN, "truncate": False}}, gguf=False,
            note="truncate=false: the ends of the ramp are not rounded to whole dimensions."),
    Variant("mistral", "mistral", {**LLAMA, "sliding_window": 16}),
    Variant("mistral-nowindow", "mistral", {**LLAMA, "sliding_window": None}),
    Variant("qwen2", "qwen2", {**GROUPED, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}),
    Variant("qwen2-window", "qwen2", {**GROUPED, "rms_norm_eps": 1e-6, "use_sliding_window": True, "sliding_window": 16,
                                      "max_window_layers": 1}),
    Variant("qwen3", "qwen3", {**GROUPED, "rms_norm_eps": 1e-6, "head_dim": 32}),
    Variant("gpt-neox-parallel", "gpt_neox", neox(rotary_pct=0.25)),
    Variant("gpt-neox-sequential", "gpt_neox", neox(rotary_pct=1.0, use_parallel_residual=False)),
    Variant("gpt-neox-nobias", "gpt_neox", neox(rotary_pct=0.5, attention_bias=False), gguf=False,
            note="attention_bias=false: neither query_key_value nor dense has a bias; GGUF's readers expect both."),
    Variant("gpt-neox-gelu-new", "gpt_neox", neox(rotary_pct=0.5, hidden_act="gelu_new"), gguf=False),
    Variant("gpt-neox-relu", "gpt_neox", neox(rotary_pct=0.5, hidden_act="relu"), gguf=False),
    Variant("phi3", "phi3", {**GROUPED, "original_max_position_embeddings": 128}),
    Variant("phi3-window", "phi3", {**GROUPED, "original_max_position_embeddings": 128, "sliding_window": 16}),
    Variant("phi3-partial", "phi3", {**GROUPED, "original_max_position_embeddings": 128, "partial_rotary_factor": 0.75,
                                     "tie_word_embeddings": True}),
    Variant("phi3-longrope-short", "phi3", {**GROUPED, **longrope(64, 256)},
            note="The text is within original_max_position_embeddings: short factors, and the attention factor all the same."),
    Variant("phi3-longrope-long", "phi3", {**GROUPED, **longrope(32, 128)}, whole_only=True, note=LONGROPE_NOTE),
    Variant("gemma2", "gemma2", {**GEMMA, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 5.0,
                                 "final_logit_softcapping": 4.0}),
    Variant("gemma3", "gemma3_text", {**GEMMA, "num_hidden_layers": 6, "sliding_window_pattern": 3,
                                      "query_pre_attn_scalar": 24, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "rope_theta": 100000.0, "factor": 4.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}}}),
    Variant("gemma3-default-rope", "gemma3_text", {**GEMMA, "num_hidden_layers": 4, "query_pre_attn_scalar": 32,
                                                   "layer_types": ["full_attention", "sliding_attention",
                                                                   "sliding_attention", "full_attention"]},
            note="An irregular pattern of layers, and each kind's default frequencies."),
]
