#!/usr/bin/env python3
"""Writes a Hugging Face folder with a model of pythia-70m's shape and random weights, and a tokenizer trained on a text.

    pip install numpy safetensors tokenizers
    tools/models/make_random_model.py OUT_DIR TEXT_FILE [--seed 0]

The settings are those that pythia-70m's config.json has. Matrices ~ N(0, 0.02) as gpt_neox is initialised, but for the fused
queries, keys and values, which are ten times that so that attention is far from uniform. The model has learned nothing: it shows
that everything runs, not how well a method does.
"""
import argparse
import json
import os

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONFIG = {
    "architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu", "hidden_size": 512,
    "initializer_range": 0.02, "intermediate_size": 2048, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,
    "model_type": "gpt_neox", "num_attention_heads": 8, "num_hidden_layers": 6, "rotary_emb_base": 10000, "rotary_pct": 0.25,
    "tie_word_embeddings": False, "torch_dtype": "float16", "use_cache": True, "use_parallel_residual": True,
    "vocab_size": 50304}


def tensors(random):
    hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]

    def matrix(rows, columns, deviation=0.02):
        return (random.standard_normal((rows, columns)) * deviation).astype(np.float16)

    def norm(name):
        return {name + ".weight": np.ones(hidden, np.float16), name + ".bias": np.zeros(hidden, np.float16)}

    result = {"gpt_neox.embed_in.weight": matrix(CONFIG["vocab_size"], hidden), **norm("gpt_neox.final_layer_norm"),
              "embed_out.weight": matrix(CONFIG["vocab_size"], hidden)}
    for layer in range(CONFIG["num_hidden_layers"]):
        p = f"gpt_neox.layers.{layer}."
        result.update(norm(p + "input_layernorm"))
        result.update(norm(p + "post_attention_layernorm"))
        for name, rows, columns, deviation in [("attention.query_key_value", 3 * hidden, hidden, 0.2),
                                               ("attention.dense", hidden, hidden, 0.02),
                                               ("mlp.dense_h_to_4h", inner, hidden, 0.02),
                                               ("mlp.dense_4h_to_h", hidden, inner, 0.02)]:
            result[p + name + ".weight"] = matrix(rows, columns, deviation)
            result[p + name + ".bias"] = np.zeros(rows, np.float16)
    return result


def train_tokenizer(path, out):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=8000, special_tokens=["<|endoftext|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train([path], trainer)
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    with open(os.path.join(out, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "GPTNeoXTokenizer"}, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("text")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG, file, indent=2)
    save_file(tensors(np.random.default_rng(args.seed)), os.path.join(args.out, "model.safetensors"))
    train_tokenizer(args.text, args.out)


main()
