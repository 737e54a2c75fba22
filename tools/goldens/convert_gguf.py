#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write Hugging Face folders as GGUF files, for the architectures that kvlab reads.

    convert_gguf.py HF_FOLDER OUT.gguf [--type f32|f16|bf16|q8_0]
    convert_gguf.py HF_FOLDER ... OUT_FOLDER [--type ...]      writes OUT_FOLDER/<name>.gguf of those that GGUF can say

Metadata keys, tensor names and the order of rows are those of llama.cpp's converter, so that what kvlab reads of such a file it
reads of published ones. No tokenizer is written. Where that converter leaves out what the model needs, a key that GGUF has
for it is written all the same (marked "extension" below; llama.cpp takes no notice of them): windows of mistral, qwen2 and
qwen3, the pattern of gemma3's layers, attention scales that are not head_dim^-0.5, bases of gpt_neox and gemma2, and yarn's
attention factor where mscale decides it. What GGUF cannot say at all is refused.

An environment for it:

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 transformers==5.2.0 gguf==0.19.0
"""
import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.torch import load_file
from transformers import AutoConfig

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "mistral": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2,
                 "qwen3": gguf.MODEL_ARCH.QWEN3, "gpt_neox": gguf.MODEL_ARCH.GPTNEOX, "phi3": gguf.MODEL_ARCH.PHI3,
                 "gemma2": gguf.MODEL_ARCH.GEMMA2, "gemma3_text": gguf.MODEL_ARCH.GEMMA3}
PERMUTED = ("llama", "mistral")    # their GGUF rotary turns neighbours; everyone else's turns the halves of a head
TYPES = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16,
         "bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
FILE_TYPES = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16,
              "bf16": gguf.LlamaFileType.MOSTLY_BF16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
USUAL_BASE = 10000.0


class Refused(Exception):
    """What GGUF, or this script, cannot do."""


class Source:
    """The settings of a model, whatever the spelling of its config.json."""

    def __init__(self, folder: Path):
        raw = json.loads((folder / "config.json").read_text())
        self.config = AutoConfig.from_pretrained(folder)
        self.kind: str = self.config.model_type
        if self.kind not in ARCHITECTURES:
            raise Refused(f"model_type '{self.kind}' is not one of {', '.join(ARCHITECTURES)}")
        self.heads: int = self.config.num_attention_heads
        self.kv_heads: int = getattr(self.config, "num_key_value_heads", None) or self.heads
        self.head_dim: int = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.heads
        self.layers: int = self.config.num_hidden_layers
        rope = self.config.rope_parameters
        self.rope: dict[str, Any] = rope.get("full_attention", rope)
        self.local_base: float | None = rope["sliding_attention"]["rope_theta"] if "sliding_attention" in rope else None
        self.share: float = self.rope.get("partial_rotary_factor") or 1.0
        if self.kind == "gpt_neox":    # transformers 5.2 does not read what it writes
            self.share = raw.get("rotary_pct", (raw.get("rope_parameters") or {}).get("partial_rotary_factor", 0.25))
        self.check()

    def check(self) -> None:
        activation = getattr(self.config, "hidden_activation", None) or self.config.hidden_act
        usual = {"gpt_neox": "gelu", "gemma2": "gelu_pytorch_tanh", "gemma3_text": "gelu_pytorch_tanh"}.get(self.kind, "silu")
        if activation != usual:
            raise Refused(f"GGUF has no key for activations: '{activation}' (expected {usual} for {self.kind})")
        if self.kind == "gpt_neox" and not self.config.attention_bias:
            raise Refused("GGUF's gptneox has biases in attention: attention_bias is false")
        if self.rope["rope_type"] == "yarn" and self.rope.get("truncate") is False:
            raise Refused("GGUF has no key for yarn's truncate=false")
        usual_scalings = ("default", "linear", "yarn")
        known = {"phi3": ("default", "longrope")}.get(self.kind, usual_scalings)
        if self.kind in PERMUTED:
            known += ("llama3",)
        if self.rope["rope_type"] not in known:
            raise Refused(f"GGUF of {self.kind} cannot say rotary scaling '{self.rope['rope_type']}'")

    def sliding_layers(self) -> list[bool]:
        window = getattr(self.config, "sliding_window", None)
        if window is None:
            return [False] * self.layers
        kinds = getattr(self.config, "layer_types", None)
        return [True] * self.layers if kinds is None else [kind == "sliding_attention" for kind in kinds]


def yarn_attention(rope: dict[str, Any]) -> float | None:
    """The factor on cos and sin if it is not 1 + 0.1 ln(factor), which readers take by themselves."""
    if rope.get("attention_factor") is not None:
        return rope["attention_factor"]
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        log = 0.1 * math.log(rope["factor"]) if rope["factor"] > 1 else 0.0
        return (1 + rope["mscale"] * log) / (1 + rope["mscale_all_dim"] * log)
    return None


def longrope_attention(source: Source) -> float:
    if source.rope.get("attention_factor") is not None:
        return source.rope["attention_factor"]
    original = source.rope["original_max_position_embeddings"]
    factor = source.rope.get("factor") or source.config.max_position_embeddings / original
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0


def add_sizes(writer: gguf.GGUFWriter, source: Source) -> None:
    config = source.config
    writer.add_block_count(source.layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(source.heads)
    if source.kind == "gpt_neox":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_parallel_residual(config.use_parallel_residual)
        return
    writer.add_head_count_kv(source.kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if getattr(config, "head_dim", None) is not None:
        writer.add_key_length(source.head_dim)
        writer.add_value_length(source.head_dim)
    if source.kind in PERMUTED:
        writer.add_vocab_size(config.vocab_size)


def add_scaling(writer: gguf.GGUFWriter, rope: dict[str, Any]) -> None:
    if rope["rope_type"] not in ("linear", "yarn"):
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
    writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "linear":
        return
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if (attention := yarn_attention(rope)) is not None:
        writer.add_rope_scaling_yarn_attn_factor(attention)      # extension where mscale decides
    if rope.get("beta_fast"):
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
    if rope.get("beta_slow"):
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])


def add_rotary(writer: gguf.GGUFWriter, source: Source) -> None:
    base = source.rope["rope_theta"]
    if source.kind not in ("gpt_neox", "gemma2") or base != USUAL_BASE:    # extension for these two
        writer.add_rope_freq_base(base)
    if source.local_base is not None:
        writer.add_rope_freq_base_swa(source.local_base)
    if source.kind in ("llama", "mistral", "gpt_neox", "phi3"):
        writer.add_rope_dimension_count(int(source.share * source.head_dim))
    if source.kind == "phi3":
        writer.add_rope_scaling_orig_ctx_len(source.config.original_max_position_embeddings)
        if source.rope["rope_type"] == "longrope":
            writer.add_rope_scaling_attn_factors(longrope_attention(source))
    add_scaling(writer, source.rope)


def add_window(writer: gguf.GGUFWriter, source: Source) -> None:
    sliding = source.sliding_layers()
    if source.kind == "phi3":
        writer.add_sliding_window(source.config.sliding_window or 0)
        return
    if not any(sliding):
        return
    writer.add_sliding_window(source.config.sliding_window)      # extension for mistral and qwen
    if source.kind == "mistral":
        return
    period = {"gemma2": 2, "gemma3_text": 6}.get(source.kind)    # what readers take when there is no pattern
    if period and sliding == [i % period < period - 1 for i in range(source.layers)]:
        return
    writer.add_sliding_window_pattern(sliding)                   # extension


def add_gemma(writer: gguf.GGUFWriter, source: Source) -> None:
    config = source.config
    if source.kind == "gemma2" and config.attn_logit_softcapping is not None:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if config.final_logit_softcapping is not None:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    largest = source.layers == {"gemma2": 46, "gemma3_text": 62}[source.kind]    # readers know them by their depth
    if config.query_pre_attn_scalar != (config.hidden_size // source.heads if largest else source.head_dim):
        writer.add_attention_scale(config.query_pre_attn_scalar**-0.5)           # extension


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from [first of each pair][second of each pair] to pairs of neighbours."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(values.shape)


def queries_keys_values(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of gpt_neox's fused projection from (query, key, value) of each head to all queries, all keys, all values."""
    return values.reshape(heads, 3, values.shape[0] // heads // 3, -1).swapaxes(0, 1).reshape(values.shape)


def rearranged(source: Source, name: str, values: np.ndarray) -> np.ndarray:
    stem = name.rpartition(".")[0]
    if source.kind in PERMUTED and stem.endswith("q_proj"):
        return interleaved(values, source.heads)
    if source.kind in PERMUTED and stem.endswith("k_proj"):
        return interleaved(values, source.kv_heads)
    if source.kind == "gpt_neox" and stem.endswith("query_key_value"):
        return queries_keys_values(values, source.heads)
    if source.kind.startswith("gemma") and stem.endswith("norm"):
        return values + np.float32(1)
    return values


def llama3_divisors(source: Source) -> np.ndarray:
    """What each frequency is divided by."""
    rope, divisors = source.rope, []
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for i in range(source.head_dim // 2):
        turns = rope["original_max_position_embeddings"] * rope["rope_theta"] ** (-2 * i / source.head_dim) / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


def tensors(source: Source, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    names = gguf.get_tensor_name_map(ARCHITECTURES[source.kind], source.layers)
    if source.rope["rope_type"] == "llama3":
        yield "rope_freqs.weight", llama3_divisors(source)
    if source.rope["rope_type"] == "longrope":
        for length in ("long", "short"):
            yield f"rope_factors_{length}.weight", np.array(source.rope[f"{length}_factor"], dtype=np.float32)
    ignored = (".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq")
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            if name.endswith(ignored) or (name == "lm_head.weight" and source.config.tie_word_embeddings):
                continue
            translated = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if translated is None:
                raise Refused(f"{file.name}: tensor '{name}' has no name in GGUF")
            yield translated, rearranged(source, name, tensor.float().numpy())


def convert(folder: Path, out: Path, kind: str) -> None:
    source = Source(folder)
    writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[source.kind]])
    writer.add_name(folder.name)
    writer.add_file_type(FILE_TYPES[kind])
    add_sizes(writer, source)
    add_rotary(writer, source)
    add_window(writer, source)
    if source.kind.startswith("gemma"):
        add_gemma(writer, source)
    for name, values in tensors(source, folder):
        type_ = TYPES[kind] if values.ndim > 1 and not name.endswith("_norm.weight") else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(values), type_), raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="f32", help="of matrices; vectors and norms are always f32")
    arguments = parser.parse_args()
    if arguments.out.suffix == ".gguf":
        if len(arguments.folders) != 1:
            parser.error("one OUT.gguf takes one folder")
        try:
            convert(arguments.folders[0], arguments.out, arguments.type)
        except Refused as refusal:
            raise SystemExit(f"{arguments.folders[0]}: {refusal}") from refusal
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for folder in arguments.folders:
        try:
            convert(folder, arguments.out / f"{folder.name}.gguf", arguments.type)
        except Refused as refusal:
            print(f"left out {folder.name}: {refusal}")


if __name__ == "__main__":
    main()
