#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""transformers without compression: one dense pass over all tokens, or token by token over its DynamicCache."""
import json

import torch
import transformers

import measure
import torch_model


def rows(dtype: str) -> dict[str, measure.Row]:
    common = {"program": "transformers", "version": transformers.__version__, "dtype": dtype,
              "pair": f"kvlab_none_{dtype}"}
    return {
        "dense": measure.Row(row=f"transformers_dense_{dtype}", method="none, one pass (sdpa)", acts="never", **common),
        "loop": measure.Row(row=f"transformers_loop_{dtype}", method="none, one token per pass (DynamicCache)",
                            acts="never", **common)}


def main() -> None:
    parser = measure.arguments(__doc__)
    torch_model.add_arguments(parser)
    parser.add_argument("way", choices=("dense", "loop"))
    parser.add_argument("--limit", type=int, default=0, help="tokens to read; 0: all")
    a = parser.parse_args()
    model = torch_model.load(a.model, a.dtype, a.threads)
    ids = torch.tensor(json.loads(a.tokens.read_text(encoding="utf-8"))[:a.limit or None])

    def run(tokens: torch.Tensor) -> measure.Outcome:
        if a.way == "dense":
            found = torch_model.dense_losses(model, tokens)
        else:
            found, _ = torch_model.losses_token_by_token(model, tokens)
        return measure.Outcome(len(tokens), 1, found, 1.0)

    # The dense pass has one shape, whose first run also sets up oneDNN's primitives.
    run(ids if a.way == "dense" else ids[:torch_model.WARM_UP_TOKENS])
    measure.repeat_row(rows(a.dtype)[a.way], a.out, a.repeats, lambda: run(ids))


if __name__ == "__main__":
    main()
