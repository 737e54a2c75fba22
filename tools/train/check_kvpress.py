#!/usr/bin/env python3
"""Checks that kvpress's own loader reads a KVzap scorer that kvlab wrote and gives the same scores.

The hidden states and the scores come from one run of kvlab:

    kvlab dump --text book.txt --max_length 512 --dtype f32 --recipe 'kvzap(keep=0.5)' --kvzap_scorer_model SCORER \\
        --what hidden,scores --out dump.safetensors
    tools/train/check_kvpress.py SCORER dump.safetensors

Needs the Python packages kvpress, torch and safetensors. Exit status 0: all scores agree within 1e-4.
"""
import sys

import torch
from kvpress.presses.kvzap_press import KVzapModel
from safetensors.torch import load_file

TOLERANCE = 1e-4


def main():
    folder, dump = sys.argv[1:3]
    model = KVzapModel.from_pretrained(folder).eval().float()
    tensors = load_file(dump)
    layers = len(model.layers)
    hidden = torch.stack([tensors[f"layers.{layer}.hidden"].float() for layer in range(layers)], dim=1)
    with torch.no_grad():
        theirs = model(hidden).permute(1, 2, 0)  # [layers, heads, tokens]
    ours = tensors["scores"]
    difference = (theirs - ours).abs().max().item()
    kind = "linear" if model.config.hidden_dim is None else f"mlp, inner layer {model.config.hidden_dim}"
    print(f"{folder} ({kind}): {ours.numel()} scores, largest difference {difference:.2e}, "
          f"scores from {ours.min():.2f} to {ours.max():.2f}")
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
