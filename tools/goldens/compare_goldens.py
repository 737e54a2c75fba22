#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare two folders of architecture goldens: values within 1e-4, everything else equal.

    compare_goldens.py COMMITTED MADE_ANEW

Another processor or library adds in another order, so values differ in their last digits.
"""
import json
import sys
from pathlib import Path
from typing import Any

NEAR = 1e-4
MEASURED = ("rounding",)


def differences(committed: Any, anew: Any, where: str) -> list[str]:
    if isinstance(committed, dict) and isinstance(anew, dict) and committed.keys() == anew.keys():
        return [line for key in committed if key not in MEASURED
                for line in differences(committed[key], anew[key], f"{where}.{key}")]
    if isinstance(committed, list) and isinstance(anew, list) and len(committed) == len(anew):
        return [line for i in range(len(anew)) for line in differences(committed[i], anew[i], f"{where}[{i}]")]
    if isinstance(committed, float) and isinstance(anew, float) and abs(committed - anew) <= NEAR:
        return []
    return [] if committed == anew else [f"{where}: {committed} committed, {anew} now"]


def main() -> None:
    folders = [Path(argument) for argument in sys.argv[1:]]
    if len(folders) != 2:
        raise SystemExit("usage: compare_goldens.py COMMITTED MADE_ANEW")
    names = [sorted(path.name for path in folder.glob("*.json")) for folder in folders]
    found = differences(names[0], names[1], "names")
    for name in set(names[0]) & set(names[1]):
        committed, anew = (json.loads((folder / name).read_text()) for folder in folders)
        found += differences(committed, anew, name)
    if found:
        raise SystemExit("\n".join(found[:20]))
    print(f"{len(names[0])} goldens are as committed")


if __name__ == "__main__":
    main()
