#!/usr/bin/env python3
"""Prints a comparison_summary.json as a Markdown table of quality figures. Usage: quality_table.py FILE [match]"""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    summary = json.load(file)
matched = "match" in sys.argv[2:]
far = any(row["delta_nll_long_range"] is not None for row in summary["methods"])


def number(value, digits, sign=False):
    return "—" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def interval(pair):
    return "—" if pair is None else f"[{pair[0]:+.4f}, {pair[1]:+.4f}]"


def found(row):
    match = row["match"]
    if not match or not match["variable"] or match["value"] is None:
        return "—", "—"
    return f"{match['variable']}={match['value']:.6g}", number(match["calibration_seen"], 4)


heads = ["Method", "PPL", "ΔNLL", "95%", "KL", "top-1 %", "seen", "KV bytes"]
if far:
    heads += ["long-range ΔNLL"]
if matched:
    heads += ["found", "seen, calibration", "above oracle"]
heads += ["status"]
print("| " + " | ".join(heads) + " |")
print("|---" * len(heads) + "|")
for row in summary["methods"]:
    top1 = row["top1_agreement"]
    cells = [row["name"], number(row["ppl"], 3), number(row["delta_nll"], 4, True), interval(row["delta_nll_ci95"]),
             number(row["kl_mean"], 4), number(None if top1 is None else 100 * top1, 2), number(row["density_seen"], 4),
             "—" if row["kv_bytes"] is None else f"{row['kv_bytes'] / 1e6:.2f} MB"]
    if far:
        mark = "*" if row["long_range_control_family"] else ""
        cells += [number(row["delta_nll_long_range"], 3, True) + mark]
    if matched:
        cells += [*found(row), number(row["gap_to_oracle"], 4, True)]
    reason = f": {row['reason']}" if row["reason"] else ""
    cells += [row["status"] + reason]
    print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
intervals = {row["ci_method"] for row in summary["methods"] if row["ci_method"]}
print()
print(f"{summary['methods'][0]['tokens_scored']} scored tokens, token set {summary['config']['token_set']}, "
      f"{summary['config']['dtype']} weights; 95% intervals: {', '.join(sorted(intervals)) or 'none'}.")
if far:
    control = summary["long_range_control"]
    print()
    print("Long-range ΔNLL: on the tokens that lose more than "
          f"{control['more_than_nats']} nats under {control['recipe']}. *: a row of the control's own kind, which that choice speaks against.")
