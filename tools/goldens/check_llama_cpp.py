#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the goldens with what llama.cpp computes from convert_gguf.py's files: a check of the converter by another reader.

    check_llama_cpp.py GOLDENS FOLDERS [NAME ...]

GOLDENS is tests/goldens/architectures, FOLDERS what make_architecture_goldens.py --folders wrote. Prints the largest difference
of a loss; README.md says which models llama.cpp cannot agree on. The files get a made-up vocabulary, which llama.cpp insists on.

An environment for it: the one of convert_gguf.py, and

    venv/bin/pip install llama-cpp-python==0.3.36
"""
import json
import sys
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

import convert_gguf

F32 = 0    # ggml's number of the type


class WriterWithVocabulary(gguf.GGUFWriter):
    def write_header_to_file(self, path: Path | None = None) -> None:
        vocab = next(info.shape[0] for name, info in self.tensors[0].items() if name == "token_embd.weight")
        self.add_tokenizer_model("gpt2")
        self.add_tokenizer_pre("default")
        self.add_token_list([f"t{i}" for i in range(vocab)])
        self.add_token_types([gguf.TokenType.NORMAL] * vocab)
        self.add_token_merges(["t 1"])
        super().write_header_to_file(path)

    def add_name(self, name: str) -> None:
        super().add_name("tiny")    # of some names llama.cpp expects certain tokens


def losses(file: Path, ids: list[int]) -> np.ndarray:
    model = llama_cpp.Llama(str(file), n_ctx=len(ids), n_batch=len(ids), logits_all=True, verbose=False, n_threads=1,
                            type_k=F32, type_v=F32, flash_attn=False)
    model.eval(ids)
    logits = np.array(model.scores[:len(ids)], dtype=np.float64)
    model.close()
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(ids) - 1), ids[1:]]


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit("usage: check_llama_cpp.py GOLDENS FOLDERS [NAME ...]")
    goldens, folders = Path(sys.argv[1]), Path(sys.argv[2])
    gguf.GGUFWriter = WriterWithVocabulary
    with tempfile.TemporaryDirectory() as work:
        for name in sys.argv[3:] or sorted(path.stem for path in goldens.glob("*.json")):
            golden = json.loads((goldens / f"{name}.json").read_text())
            if not golden["gguf"]:
                continue
            file = Path(work) / f"{name}.gguf"
            convert_gguf.convert(folders / name, file, "f32")
            print(f"{name}: {np.abs(losses(file, golden['ids']) - golden['nll']).max():.5f}", flush=True)


if __name__ == "__main__":
    main()
