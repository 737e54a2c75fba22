"""Writes the pages on methods: methods.md and methods/NAME.md, from `kvlab list --json` and the first comment of each
method's file. Usage: method_pages.py LIST.json SOURCES PICTURES OUTPUT, where SOURCES is src/methods, PICTURES holds
NAME.png (a page shows the one that is there) and OUTPUT is the folder for methods.md and methods/."""

import json
import re
import sys
from pathlib import Path

LABELS = ("Idea", "Paper", "Symbols", "Differs", "Bytes per token", "In kvpress", "Examples")

KINDS = {
    "fixed": "the score is known when the entry is written. Lifetimes are planned before attention runs and one blocked kernel"
    " serves all queries; the more is evicted, the less it reads.",
    "weights": "needs the attention weights of every query. Attention goes query by query inside each layer, which makes long"
    " extends slower; in decoding queries come one by one anyway.",
    "periodic": "scores all live entries anew whenever the budget acts, every 128 tokens unless told otherwise. Between"
    " actions nothing goes, so its queries see more than those of a method that acts after each token; `every=1` is exact"
    " and slow.",
    "context": "scores all entries of a layer, all heads together, once: at the end of the context (`--protocol prefix`,"
    " `generate` after its prompt). While the context is read nothing goes.",
    "planned": "evictions are decided before the session runs, for the document as a whole. With hindsight that costs a first"
    " pass without compression and knows the future, so it measures other methods and generates nothing.",
}


def plain(text):
    """Text whose signs Markdown does not read as its own; `code` in it stays code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([\\*_|<])", r"\\\1", p) for p in pieces)


def code(text):
    return "`" + text.replace("|", "\\|") + "`"


def sentence(text):
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def comment_of(path):
    """The lines of the comment at the top of a file, without their slashes."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if not line.startswith("//"):
            break
        lines.append(line[2:].strip())
    return lines


def file_head(path):
    """What a scorer's file says under each label; the whole comment as Idea where it has no labels."""
    found, label = {}, None
    for line in comment_of(path):
        match = re.match(r"(%s): (.*)" % "|".join(LABELS), line)
        if match:
            label, line = match.groups()
            found[label] = line
        elif label:
            found[label] += " " + line
    return found or {"Idea": " ".join(comment_of(path))}


def bounds_text(text):
    """"integer 1..1073741824" has no upper bound that anybody meets."""
    text = re.sub(r"(integer) (\d+)\.\.\d{7,}$", r"\1, at least \2", text)
    return re.sub(r"number -1e\+30\.\.1e\+30$", "number", text)


def parameter_rows(fields, defaults={}):
    """The default stands in a column of its own; a range ends with it: "integer 1..64, default 4"."""
    for field in fields:
        bounds, _, default = field["range"].partition(", default ")
        default = plain(default or defaults.get(field["name"], "—"))
        yield f"| {code(field['name'])} | {default} | {plain(bounds_text(bounds))} | {plain(field['help'])} |"


def defaults_of(method):
    """What a method does where a shared parameter is left out."""
    sinks, _, window = method["protects"].partition(", window ")
    return {
        "keep": "1 − `--compression_ratio`",
        "sinks": sinks.removeprefix("sinks "),
        "window": window,
        "every": "128" if method["kind"] == "periodic" else "1",
        "seed": "`--seed` and the four that follow",
        "model": "`--kvzap_scorer_model`" if method["name"] == "kvzap" else "—",
    }


def budgets_of(parts, method):
    if not method.get("takes_budget", True):
        return []
    return [b for b in parts["budgets"] if not b["threshold"] or method["takes_threshold"]]


def shared_of(parts, method):
    skipped = {name for name, used in (("seed", method["seeded"]), ("model", method["learned"])) if not used}
    return [f for f in parts["shared_parameters"] if f["name"] not in skipped]


def picture_lines(pictures, name, title):
    if not (pictures / f"{name}.png").exists():
        return []
    return [
        "## What it keeps",
        "",
        f"![What {title} keeps of a text]({name}.png)",
        "",
        "The first 512 tokens of the first document of the built-in corpus, with the built-in model in bf16, seed 0: a column is",
        "a token, a row a layer. The recipe is in the picture's second line; `tools/docs/make_methods.sh --pictures` draws it again.",
        "",
    ]


def example_lines(recipes, scorer, at_context=False):
    model = " --kvzap_scorer_model FOLDER" if scorer == "kvzap" else ""
    recipes = [re.sub(r",?model=scorer_folder", "", r) for r in recipes]
    lines = ["## Use", ""]
    for recipe in recipes:
        context = " --protocol prefix --context 512" if at_context or "at=context" in recipe else ""
        lines.append(f"    kvlab compare{model} --max_length 1024{context} --methods '{recipe}'")
    return lines + [""]


def scorer_page(parts, method, head, pictures):
    name = method["name"]
    budgets = budgets_of(parts, method)
    facts = {
        "Recipe name": code(name),
        "Paper": plain(sentence(method["paper"])),
        "Kind": f"{method['kind']}: {KINDS.get(method['kind'], '')}",
        "Protected by default": plain(sentence(method["protects"])),
        "Budgets": ", ".join(code(b["name"]) for b in budgets) or "none",
    }
    if method.get("takes_budget", True) and not method["takes_threshold"]:
        facts["No threshold"] = plain(sentence(method["why_no_threshold"]))
    if method.get("non_causal"):
        facts["Knows the future"] = "A bound to measure methods by, not a method."
    facts["Bytes per token"] = "Beside keys and values: " + plain(head.get("Bytes per token", "see the file."))
    lines = [f"# {method['title']}", "", plain(method["title"] + ": " + method["summary"] + "."), ""]
    if "Idea" in head:
        lines += [plain(sentence(head["Idea"])), ""]
    lines += ["| | |", "|---|---|"] + [f"| {key} | {value} |" for key, value in facts.items()] + [""]
    lines += ["## Score", "", "    " + method["formula"], "", plain("Here " + head["Symbols"]) if "Symbols" in head else ""]
    lines += ["The entries with the least score go first.", ""]
    for label, title in (("Differs", "What differs from the paper"), ("In kvpress", "In NVIDIA/kvpress")):
        if label in head:
            lines += [f"## {title}", "", plain(sentence(head[label])), ""]
    lines += ["## Parameters", "", "| name | default | range | meaning |", "|---|---|---|---|"]
    lines += parameter_rows(method["parameters"])
    lines += parameter_rows([{"name": b["name"], "range": b["range"], "help": b["summary"] + " (budget)"} for b in budgets], defaults_of(method))
    shared = shared_of(parts, method)
    lines += parameter_rows(shared if budgets else [f for f in shared if f["name"] in ("seed", "model")], defaults_of(method))
    lines += ["", ("At most one budget. " if budgets else "") + "`kvlab compare --sinks`, `--sliding_window_size` and `--chunk_size` set the defaults of a run.", ""]
    if "Examples" in head:
        lines += example_lines(head["Examples"].split(), name, method["kind"] == "context")
    lines += picture_lines(pictures, name, method["title"])
    return lines + [f"Source: [src/methods/scorers/{name}.cc](../../src/methods/scorers/{name}.cc)"]


def wrapper_page(method, head, pictures):
    name = method["name"]
    facts = {
        "Recipe name": code(name),
        "Paper": plain(sentence(method["paper"])),
        "Stands around": f"{code(method['of'])} unless `of=` names another method, also one that is wrapped itself",
        "Acts": "while streaming and at=context" if method["streams"] else "at=context only",
        "Bytes per token": "Beside keys and values: " + plain(head.get("Bytes per token", "see the file.")),
    }
    if method["refuses"]:
        facts["Refuses"] = plain(sentence(method["refuses"]))
    lines = [f"# {method['title']}", "", plain(method["title"] + ": " + method["summary"] + "."), ""]
    if "Idea" in head:
        lines += [plain(sentence(head["Idea"])), ""]
    lines += ["| | |", "|---|---|"] + [f"| {key} | {value} |" for key, value in facts.items()] + [""]
    lines += ["## Rule", "", "    " + method["formula"], "", plain("Here " + head["Symbols"]) if "Symbols" in head else "", ""]
    for label, title in (("Differs", "What differs from the paper"), ("In kvpress", "In NVIDIA/kvpress")):
        if label in head:
            lines += [f"## {title}", "", plain(sentence(head[label])), ""]
    if method["parameters"]:
        lines += ["## Parameters", "", "| name | default | range | meaning |", "|---|---|---|---|"]
        lines += parameter_rows(method["parameters"])
        lines += [""]
    lines += ["Budget, protection, schedule and what else it does not know itself it hands to the method within.", ""]
    if "Examples" in head:
        lines += example_lines(head["Examples"].split(), False)
    lines += picture_lines(pictures, name, method["title"])
    return lines + [f"Source: [src/methods/wrappers/{name}.cc](../../src/methods/wrappers/{name}.cc)"]


def named_page(parts, named, comment, pictures):
    name, scorer = named["name"], named["recipe"].partition("(")[0]
    part = "Wrapper" if any(w["name"] == scorer for w in parts["wrappers"]) else "Scorer"
    lines = [f"# {named['title']}", "", plain(sentence(named["summary"])), "", plain(" ".join(comment)), ""]
    lines += ["| | |", "|---|---|", f"| Recipe name | {code(name)} |", f"| Short for | {code(named['recipe'])} |"]
    lines += [f"| Paper | {plain(sentence(named['paper']))} |", f"| {part} | [{plain(scorer)}]({scorer}.md) |", ""]
    lines += [f"Parameters are those of the {part.lower()}; what is written in parentheses wins over the recipe's own.", ""]
    lines += example_lines([name], scorer) + picture_lines(pictures, name, named["title"])
    return lines + [f"Source: [src/methods/named/{name}.cc](../../src/methods/named/{name}.cc)"]


def wrapper_index(parts):
    lines = [
        "",
        "## Wrappers",
        "",
        "A wrapper stands around a method, `adakv(of=snapkv,keep=0.25)`, and changes what entries are worth, how the budget is shared out over",
        "heads and layers, or what becomes of entries that stay. Wrappers nest, the innermost acts first: `criticalkv(of=adakv(of=snapkv))`.",
        "",
        "| name | acts | what it does |",
        "|---|---|---|",
    ]
    for w in parts["wrappers"]:
        acts = "while streaming, at=context" if w["streams"] else "at=context"
        lines.append(f"| [{plain(w['name'])}](methods/{w['name']}.md) | {acts} | {plain(sentence(w['summary']))} |")
    return lines + [
        "",
        "## Schedules",
        "",
        "`every=n` has the budget act after each n tokens: `X(size=S,every=n)` cuts the cache down to S entries a head and lets it grow to",
        "S + n − 1 (kvpress's DecodingPress with that target and interval; `decoding_press` has its defaults), `X(keep=F,every=128)` goes",
        "through a text in blocks of 128 (BlockPress). `every=1` acts after each token.",
    ]


def index(parts):
    lines = ["# Methods", ""]
    lines += [
        "This page and those it points to are written by `tools/docs/make_methods.sh` from `kvlab list --json` and the methods'",
        "files; do not edit them. A method is used by its name or in a recipe, `name(parameter=value,...)`, with at most one",
        "budget and optionally `+` a codec.",
        "",
        "| name | kind | what it does |",
        "|---|---|---|",
    ]
    for m in parts["methods"]:
        lines.append(f"| [{plain(m['name'])}](methods/{m['name']}.md) | {m['kind']} | {plain(sentence(m['summary']))} |")
    lines += ["", "What a kind costs:", ""]
    lines += [f"- **{kind}**: {text}" for kind, text in KINDS.items()]
    lines += wrapper_index(parts)
    lines += ["", "## Named recipes", "", "| name | recipe | what it is |", "|---|---|---|"]
    for n in parts["named"]:
        lines.append(f"| [{plain(n['name'])}](methods/{n['name']}.md) | {code(n['recipe'])} | {plain(sentence(n['summary']))} |")
    if "two_phase" in parts:
        both = parts["two_phase"]
        lines += ["", "## Two phases", "", f"{code(both['recipe'])}: {plain(sentence(both['summary']))}"]
        lines += [
            "",
            "The context's method is resolved as with `at=context`. The other watches from the first token on, but evicts only after the",
            "context: whenever n, counted from the session's start, is a multiple of its `every`. Nothing goes before the end of the context. A",
            "method whose KV heads decide together (TOVA) can only follow one that leaves all heads the same entries.",
        ]
    lines += ["", "## Budgets", "", "| name | what it bounds | value |", "|---|---|---|"]
    lines += [f"| {code(b['name'])} | {plain(sentence(b['summary']))} | {plain(b['range'])} |" for b in parts["budgets"]]
    lines += ["", "## Codecs", "", "| name | how entries are stored |", "|---|---|"]
    lines += [f"| {code(c['name'])} | {plain(sentence(c['summary']))} |" for c in parts["codecs"]]
    lines += ["", "## Parameters of every method", "", "| name | default | range | meaning |", "|---|---|---|---|"]
    lines += parameter_rows(parts["shared_parameters"])
    return lines + ["", "Where there is no default the method decides: see what its page says is protected, and its kind. `seed` is of random", "methods only, `model` of learned ones."]


def main(list_file, sources, pictures, output):
    parts = json.loads(Path(list_file).read_text(encoding="utf-8"))
    sources, pictures, output = Path(sources), Path(pictures), Path(output)
    pages = {Path("methods.md"): index(parts)}
    for method in parts["methods"]:
        head = file_head(sources / "scorers" / f"{method['name']}.cc")
        pages[Path("methods", method["name"] + ".md")] = scorer_page(parts, method, head, pictures)
    for wrapper in parts["wrappers"]:
        head = file_head(sources / "wrappers" / f"{wrapper['name']}.cc")
        pages[Path("methods", wrapper["name"] + ".md")] = wrapper_page(wrapper, head, pictures)
    for named in parts["named"]:
        comment = comment_of(sources / "named" / f"{named['name']}.cc")
        pages[Path("methods", named["name"] + ".md")] = named_page(parts, named, comment, pictures)
    (output / "methods").mkdir(parents=True, exist_ok=True)
    for old in (output / "methods").glob("*.md"):  # of methods that are gone
        old.unlink()
    for path, lines in pages.items():
        (output / path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
