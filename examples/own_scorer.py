"""A scorer of one's own for kvlab: long values and short keys stay. Usage: own_scorer.py SCORES DUMP..."""
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

scores = {}
for document, path in enumerate(sys.argv[2:]):
    run = load_file(path)  # layers.<l>.k and .v: [tokens, kv_heads, head_dim]
    layers = sum(name.endswith(".k") for name in run)
    norm = {x: [np.linalg.norm(run[f"layers.{layer}.{x}"], axis=-1) for layer in range(layers)] for x in "kv"}
    worth = np.log(norm["v"]) - 2 * np.log(norm["k"])  # [layers, tokens, kv_heads]; higher is kept longer
    scores[f"scores.{document}"] = np.ascontiguousarray(worth.swapaxes(1, 2), dtype=np.float32)
save_file(scores, sys.argv[1])
