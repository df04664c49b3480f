"""Tables of options: of handlers, of configurations, and of the command line."""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import re
from collections.abc import Iterable, Sequence

import docstring_parser

from reference.sources import modules
from runinference.config import ROW_ONLY
from runinference.registry import available_handlers, handler_class
from runinference_cli.described_options import DescribedOption, described_options

__all__ = ["beams_handlers", "class_options", "handler_options", "handlers", "score_options"]

_OF_BEAM = "runinference-beam"


def handlers() -> str:
    """A table of this project's handlers."""
    rows = []
    for info in available_handlers():
        if info.distribution != _OF_BEAM:
            described = docstring_parser.parse(inspect.getdoc(handler_class(info.name)) or "")
            told = _inline(described.short_description or "")
            rows.append([f"[`{info.name}`](#{info.name})<br>`{info.distribution}`", told])
    return _table(["handler, and its distribution", "in a sentence"], rows)


def beams_handlers() -> str:
    """A table of Beam's handlers by name; none is imported, since each needs its framework."""
    rows = []
    for info in available_handlers():
        if info.distribution == _OF_BEAM:
            module, _, name = info.target.partition(":")
            rows.append([f"`{info.name}`", f"`{name}`", f"`{_beams_module(module)}`"])
    return _table(["name", "Beam's class", "its module, below `apache_beam.ml.inference`"], rows)


def handler_options(name: str) -> str:
    """What a handler is, and a table of its options."""
    kind = handler_class(name)
    described = docstring_parser.parse(inspect.getdoc(kind) or "")
    told = [described.short_description, described.long_description]
    texts = [_inline(paragraph) for text in told if text for paragraph in text.split("\n\n")]
    module = kind.__module__.partition(".")[0]
    where = f"In Python: `from {module} import {kind.__name__}`."
    return "\n\n".join([*texts, where, _options_table(described_options(kind))])


def class_options(path: str) -> str:
    """A table of the options of a configuration, with the command line's name for each."""
    module, _, name = path.rpartition(".")
    group = {"BatchConfig": "batching", "Execution": "execution"}.get(name)
    options = described_options(getattr(importlib.import_module(module), name))
    of_command = [
        f"`--{group}.{option.name}`" if option.name not in ROW_ONLY else "for examples alone"
        for option in options
    ]
    return _options_table(options, of_command if group else None)


def score_options() -> str:
    """A table of the options of ``runinference score``, but those of handler and configurations."""
    from runinference_cli.options import score_parser

    rows = []
    for action in score_parser(None)._actions:
        if "." in action.dest or not action.option_strings:
            continue
        option = action.option_strings[-1]
        takes = "" if action.nargs == 0 else " VALUE"
        if action.nargs == "+":
            takes = " VALUE ..."
        if action.choices:
            takes = " " + ", ".join(map(str, action.choices))
        rows.append([f"`{option}{takes}`", _inline(action.help or "")])
    return _table(["option", "what it says"], rows)


def _options_table(
    options: Sequence[DescribedOption], of_command: Sequence[str] | None = None
) -> str:
    """Two columns, so that a telephone has room for them."""
    if not options:
        return "It takes no options."
    rows = []
    for position, option in enumerate(options):
        default = "required" if option.default is None else f"default `{option.default}`"
        told = [f"`{option.name}`", *([f"`{option.type}`"] if option.type else []), default]
        told += [of_command[position]] if of_command else []
        rows.append(["<br>".join(told), _inline(option.text)])
    return _table(["option", "what it says"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    """Bars would end the cell, and within backticks they cannot be escaped for every reader."""

    def code(found: re.Match[str]) -> str:
        return f"<code>{html.escape(found[1], quote=False)}</code>" if "|" in found[1] else found[0]

    return re.sub("`([^`]*)`", code, text).replace("|", "&#124;")


def _inline(text: str) -> str:
    """A docstring's text on one line, in Markdown."""
    return " ".join(text.replace("``", "`").split())


def _beams_module(module: str) -> str:
    """The module of Beam's that a module of the plugin takes its classes from."""
    for node in ast.walk(modules()[module].tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "apache_beam.ml.inference."
        ):
            return str(node.module).rpartition(".")[2]
    return ""
