#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compute the reference values of every architecture and rotary scaling that kvlab reads, from tiny random models.

    make_architecture_goldens.py OUT_DIR [--only NAME ...] [--folders FOLDER]

Writes OUT_DIR/<name>.json for each of architecture_variants.py. Nothing of kvlab runs here: the model is transformers',
float32, eager attention, one forward over all ids without a cache (where `note` does not say otherwise). Weights come from a seeded generator that the tests repeat
in C++ (seeded_weights.py says how), so a golden holds no weights. --folders also writes whole Hugging Face folders.

An environment for it:

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 transformers==5.2.0

A golden holds

    config       config.json as transformers 5.2 saves it; gpt_neox's has rotary_pct as well, which 5.2 leaves out and without
                 which it reads its own file with 0.25
    config_4x    the same model in the spelling of the files that are on the hub: rope_theta, rope_scaling, rotary_pct,
                 rope_local_base_freq, no layer_types where the architecture has a rule for them. Checked: transformers makes
                 the same model of both
    seed, tensors    of the generator: name, shape, mean, deviation, in the order of the names
    first_values     of the first and the last tensor, to check another generator by
    ids          the text
    nll          nll[t] = -log p(ids[t + 1] | ids[0..t])
    logits       logits[t] of four positions
    rounding     the largest difference of a logit and of an nll when all is computed in float64
    whole_only   true: defined for one forward over all ids only (`note` says why)
    gguf         whether a GGUF file can say all that this model needs
"""
import argparse
import copy
import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from architecture_variants import VARIANTS, Variant
from seeded_weights import distribution, make_tensor

SEED = 20250601
POSITIONS = (0, 1, 23)      # and the last
DIGITS = 5


def saved_config(config: Any) -> dict[str, Any]:
    """What save_pretrained writes, without what says nothing of the model."""
    saved = json.loads(config.to_json_string())
    for key in ("_name_or_path", "transformers_version", "ignore_keys_at_rope_validation"):
        saved.pop(key, None)
    if saved["model_type"] == "gpt_neox":
        saved["rotary_pct"] = saved["rope_parameters"]["partial_rotary_factor"]
    return saved


def old_spelling(config: dict[str, Any]) -> dict[str, Any]:
    """The same settings as transformers 4 wrote them."""
    old = copy.deepcopy(config)
    rope = old.pop("rope_parameters")
    old.pop("_sliding_window_pattern", None)
    if "full_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    old["rotary_emb_base" if old["model_type"] == "gpt_neox" else "rope_theta"] = rope.pop("rope_theta")
    if (share := rope.pop("partial_rotary_factor", None)) is not None:
        old["rotary_pct" if old["model_type"] == "gpt_neox" else "partial_rotary_factor"] = share
    if old["model_type"] == "phi3":
        rope.pop("original_max_position_embeddings", None)  # it is at the top
    kind = rope["rope_type"]
    if kind != "default":
        if old["model_type"] == "phi3":
            rope["type"] = rope.pop("rope_type")
        old["rope_scaling"] = rope
    if "layer_types" in old:
        regular = AutoConfig.for_model(**{**copy.deepcopy(old), "layer_types": None})
        if regular.layer_types == old["layer_types"]:
            old.pop("layer_types")
    return old


def model_of(config: dict[str, Any]) -> Any:
    settings = AutoConfig.for_model(**copy.deepcopy(config))
    settings._attn_implementation = "eager"
    return AutoModelForCausalLM.from_config(settings).float().eval()


def tensor_names(model: Any) -> list[str]:
    """Of the tensors in the file, sorted: a tied output head is not one of them."""
    return sorted(name for name, _ in model.named_parameters())


def fill(model: Any) -> list[dict[str, Any]]:
    parameters = dict(model.named_parameters())
    tensors = []
    for name in tensor_names(model):
        mean, deviation = distribution(name, model.config.model_type)
        shape = list(parameters[name].shape)
        values = make_tensor(SEED, name, shape, mean, deviation)
        with torch.no_grad():
            parameters[name].copy_(torch.from_numpy(values))
        tensors.append({"name": name, "shape": shape, "mean": mean, "deviation": deviation})
    return tensors


def ids_of(variant: Variant) -> list[int]:
    """Every 7th id repeats an earlier one, so that attention finds something."""
    generator = torch.Generator().manual_seed(sum(variant.name.encode()))
    ids = torch.randint(0, variant.settings["vocab_size"], (variant.tokens,), generator=generator).tolist()
    for i in range(7, variant.tokens, 7):
        ids[i] = ids[i - 5]
    return ids


@torch.no_grad()
def run(model: Any, ids: list[int], stepwise: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    if stepwise:
        cache = DynamicCache(config=model.config)
        logits = torch.cat([model(torch.tensor([[token]]), past_key_values=cache).logits[0] for token in ids])
    else:
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    nll = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
    return logits, nll


def rounded(values: torch.Tensor) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]


def make_golden(variant: Variant) -> tuple[dict[str, Any], Any]:
    config = saved_config(AutoConfig.for_model(variant.model_type, **copy.deepcopy(variant.settings)))
    model = model_of(config)
    config["architectures"] = [type(model).__name__]
    config_4x = old_spelling(config)
    tensors = fill(model)
    ids = ids_of(variant)
    logits, nll = run(model, ids, variant.stepwise)

    old_model = model_of(config_4x)
    fill(old_model)
    if not torch.equal(run(old_model, ids, variant.stepwise)[0], logits):
        raise SystemExit(f"{variant.name}: the two spellings of its configuration are different models")
    exact_logits, exact_nll = run(doubled(config), ids, variant.stepwise)
    parameters = dict(model.named_parameters())
    golden = {
        "name": variant.name, "config": config, "config_4x": config_4x, "whole_only": variant.whole_only,
        "gguf": variant.gguf, "note": variant.note, "seed": SEED, "tensors": tensors,
        "first_values": {tensors[i]["name"]: [float(f"{value:.9g}") for value in
                                              parameters[tensors[i]["name"]].flatten()[:4].tolist()] for i in (0, -1)},
        "ids": ids, "nll": rounded(nll),
        "logits": {str(t): rounded(logits[t]) for t in (*POSITIONS, len(ids) - 1)},
        "rounding": {"logits": float(f"{(logits - exact_logits).abs().max():.1e}"),
                     "nll": float(f"{(nll - exact_nll).abs().max():.1e}")},
    }
    return golden, model


def doubled(config: dict[str, Any]) -> Any:
    model = model_of(config)
    fill(model)
    return model.double()


def json_text(golden: dict[str, Any]) -> str:
    """One line per key, and per tensor: a difference shows where it is."""
    lines = []
    for key, value in golden.items():
        if key == "tensors":
            inner = ",\n".join("  " + json.dumps(tensor, separators=(",", ":")) for tensor in value)
            lines.append(f'"tensors": [\n{inner}]')
        elif key == "logits":
            inner = ",\n".join(f'  "{t}": {json.dumps(row, separators=(",", ":"))}' for t, row in value.items())
            lines.append(f'"logits": {{\n{inner}}}')
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_folder(folder: Path, golden: dict[str, Any], model: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "config.json").write_text(json.dumps(golden["config"], indent=2) + "\n")
    (folder / "golden.json").write_text(json.dumps({key: golden[key] for key in ("ids", "logits", "nll")}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=[variant.name for variant in VARIANTS])
    parser.add_argument("--folders", type=Path, help="also write <name>/config.json, model.safetensors, golden.json here")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    for variant in VARIANTS:
        if variant.name not in arguments.only:
            continue
        golden, model = make_golden(variant)
        text = json_text(golden)
        (arguments.out / f"{variant.name}.json").write_text(text)
        if arguments.folders:
            write_folder(arguments.folders / variant.name, golden, model)
        print(f"{variant.name}: mean nll {sum(golden['nll']) / len(golden['nll']):.4f}, rounding {golden['rounding']}, "
              f"{len(text)} bytes")


if __name__ == "__main__":
    main()
