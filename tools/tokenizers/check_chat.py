#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare kvlab's chat prompts with what the original Jinja templates write, string by string.

    check_chat.py --kvlab build/release/bin/kvlab PATH...

A PATH is a template (any text file), a tokenizer_config.json, a Hugging Face folder, or a folder of templates
(*.jinja). The originals are rendered by jinja2 with the settings of transformers; kvlab renders the same conversations
by `kvlab generate --messages FILE --chat_template FILE --show_prompt`, with the default model's tokenizer (or that of
--model) for BOS and EOS. An environment: python3 -m venv venv && venv/bin/pip install jinja2

Of each template a line says

    equal      how many conversations (and settings) both write the same
    refused    how many neither takes
    stricter   how many only kvlab refuses: a template that leaves a message out in silence, mostly
    unknown    the template is of no family that kvlab knows
    DIFFERS    how many kvlab writes otherwise, or writes where the original refuses; the first one is shown

and the exit status is 1 when any differs.
"""
import argparse
import datetime
import difflib
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

DAY = datetime.date(2031, 3, 7)  # not one that a template holds

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
CONVERSATIONS: dict[str, list[tuple[str, str]]] = {
    "one message": [(USER, "Hi")],
    "system": [(SYSTEM, "Be brief."), (USER, "Hi")],
    "blanks": [(SYSTEM, " Be brief. \n"), (USER, "\n Hi \t\n")],
    "blanks, no system": [(USER, " \u00a0Hi\u2003\x1c ")],
    "empty system": [(SYSTEM, ""), (USER, "Hi")],
    "blank system": [(SYSTEM, " "), (USER, "Hi")],
    "empty message": [(USER, "")],
    "blank message": [(SYSTEM, "Be brief."), (USER, " \n")],
    "three turns": [(USER, "Hi"), (ASSISTANT, "Hello."), (USER, "Bye")],
    "three turns, system": [(SYSTEM, "Be brief."), (USER, "Hi"), (ASSISTANT, "Hello."), (USER, "Bye")],
    "five turns, blanks": [(SYSTEM, " S "), (USER, " a "), (ASSISTANT, " b\n"), (USER, "\nc"), (ASSISTANT, "\td "),
                           (USER, " e ")],
    "thoughts": [(USER, "Hi"), (ASSISTANT, "<think>\nWell.\n</think>\n\nHello."), (USER, "Bye")],
    "thoughts, odd": [(USER, "Hi"), (ASSISTANT, "a</think>b</think>\n\n c "), (USER, "B</think>ye")],
    "marks": [(SYSTEM, "<<SYS>> [INST] '{{ 1 }}' \\n"), (USER, "<|im_end|> </s> \"%}\" é 漢 🙂")],
}


@dataclass
class Template:
    name: str
    text: str


@dataclass
class Settings:
    """What goes with a conversation, for the original and for kvlab."""
    name: str
    variables: dict[str, object] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)


def templates_of(path: Path) -> Iterator[Template]:
    if path.is_dir():
        found = [p for p in (path / "chat_template.jinja", path / "tokenizer_config.json") if p.exists()]
        for file in found[:1] or sorted(path.glob("*.jinja")):
            yield from templates_of(file)
    elif path.suffix == ".json":
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template", "")
        if isinstance(template, list):
            template = {entry["name"]: entry["template"] for entry in template}["default"]
        yield Template(path.parent.name, template)
    else:
        # As Hugging Face reads it: line breaks as they are.
        yield Template(path.stem, path.read_bytes().decode("utf-8"))


def compiled(text: str) -> jinja2.Template:
    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda x, ensure_ascii=False, indent=None: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent)
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = DAY.strftime
    return environment.from_string(text)


def settings_of(text: str) -> list[Settings]:
    """The plain one, and one for each switch that the template has."""
    clock = re.search(r"strftime_now\(\s*['\"](.*?)['\"]\s*\)", text)
    dated = Settings("")
    if clock:
        dated.flags = ["--date", DAY.strftime(clock[1])]
    settings = [dated]
    if "date_string" in text and not clock:
        date = DAY.strftime("%d %b %Y")
        settings.append(Settings("date", {"date_string": date}, ["--date", date]))
    if "enable_thinking" in text:
        for value, word in ((True, "yes"), (False, "no")):
            settings.append(Settings(f"thinking {word}", {"enable_thinking": value},
                                     dated.flags + ["--thinking", word]))
    return settings


class Kvlab:
    def __init__(self, program: str, model: str | None, folder: Path):
        self.command = [program, "generate", "--show_prompt", "--json"] + (["--model", model] if model else [])
        self.messages, self.template = folder / "messages.json", folder / "template.jinja"

    def rendered(self, template: str, messages: list[dict[str, str]], flags: list[str]) -> dict[str, str]:
        """{"prompt": ...} or {"error": ...}; with the prompt "bos" and "eos"."""
        self.messages.write_text(json.dumps(messages), encoding="utf-8")
        self.template.write_bytes(template.encode("utf-8"))
        done = subprocess.run(self.command + ["--messages", str(self.messages), "--chat_template", str(self.template)]
                              + flags, capture_output=True, check=False)
        if done.returncode == 2:
            return {"error": done.stderr.decode("utf-8", "replace").strip()}
        if done.returncode != 0:
            raise SystemExit(f"kvlab ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace')}")
        return json.loads(done.stdout)


def special_tokens(kvlab: Kvlab) -> dict[str, str]:
    plain = "{% for message in messages %}{{'<|im_start|>' + message.role + '\\n' + message.content + " \
            "'<|im_end|>\\n'}}{% endfor %}{{'<|im_start|>assistant\\n'}}"
    shown = kvlab.rendered(plain, [{"role": "user", "content": "Hi"}], [])
    if "error" in shown:
        raise SystemExit(shown["error"])
    return {"bos_token": shown["bos"], "eos_token": shown["eos"]}


def compare(template: Template, kvlab: Kvlab, tokens: dict[str, str]) -> tuple[Counter[str], str]:
    """Counts of the outcomes, and what is to be shown of them."""
    counts: Counter[str] = Counter()
    note = ""
    original = compiled(template.text)
    for settings in settings_of(template.text):
        for name, turns in CONVERSATIONS.items():
            messages = [{"role": role, "content": content} for role, content in turns]
            ours = kvlab.rendered(template.text, messages, settings.flags)
            if "no known family" in ours.get("error", ""):
                return Counter(unknown=1), ours["error"].split("(", 1)[1].split("; known", 1)[0]
            try:
                theirs = original.render(messages=messages, tools=None, documents=None, add_generation_prompt=True,
                                         **tokens, **settings.variables)
            except jinja2.exceptions.TemplateError as error:
                theirs = None
                reason = str(error)
            if "error" in ours:
                outcome = "refused" if theirs is None else "stricter"
                if outcome == "stricter":
                    note = note or f"{name}: {ours['error'].removeprefix('kvlab: ')}"
            else:
                outcome = "equal" if ours["prompt"] == theirs else "DIFFERS"
                if outcome == "DIFFERS" and not counts["DIFFERS"]:
                    note = f"{name} {settings.name}\n" + (
                        f"the original refuses: {reason}" if theirs is None else "\n".join(
                            difflib.ndiff(theirs.splitlines(keepends=True), ours["prompt"].splitlines(keepends=True))))
            counts[outcome] += 1
    return counts, note


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--kvlab", default="kvlab", help="the program [kvlab]")
    parser.add_argument("--model", help="whose BOS and EOS are used [the default model]")
    args = parser.parse_args()
    columns = ("equal", "refused", "stricter", "unknown", "DIFFERS")
    total: Counter[str] = Counter()
    print(f"{'template':60s}" + "".join(f"{c:>9s}" for c in columns))
    with tempfile.TemporaryDirectory() as folder:
        kvlab = Kvlab(args.kvlab, args.model, Path(folder))
        tokens = special_tokens(kvlab)
        for path in args.paths:
            for template in templates_of(path):
                try:
                    counts, note = compare(template, kvlab, tokens)
                except (jinja2.exceptions.TemplateError, TypeError, AttributeError) as error:
                    print(f"{template.name[:60]:60s}  not rendered: {error}")
                    continue
                total += counts
                print(f"{template.name[:60]:60s}" + "".join(f"{counts[c] or '.':>9}" for c in columns)
                      + (f"  {note}" if note else ""), flush=True)
    print(f"{'all':60s}" + "".join(f"{total[c] or '.':>9}" for c in columns))
    return 1 if total["DIFFERS"] else 0


if __name__ == "__main__":
    sys.exit(main())
