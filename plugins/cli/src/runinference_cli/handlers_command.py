"""``runinference handlers``: list the installed handlers, or show the options of one."""

from __future__ import annotations

import inspect
import shutil
import textwrap
import typing
from collections.abc import Sequence
from typing import Any

from runinference.registry import available_handlers, handler_class

__all__ = ["list_handlers", "show_handler"]


def list_handlers() -> str:
    """A line per handler; imports none of them."""
    handlers = available_handlers()
    if not handlers:
        return "no handlers installed; for example: pip install runinference-sklearn"
    rows = [("HANDLER", "DISTRIBUTION", "VERSION")]
    rows += [(info.name, info.distribution, info.version) for info in handlers]
    return _aligned(rows)


def show_handler(name: str) -> str:
    """The options of a handler with types, defaults and help.

    Raises:
        HandlerLookupError: the name leads to no handler.
    """
    import docstring_parser  # only here: listing does without

    kind = handler_class(name)
    info = next((info for info in available_handlers() if info.name == name), None)
    described = docstring_parser.parse(inspect.getdoc(kind) or "")
    constructor = docstring_parser.parse(inspect.getdoc(kind.__init__) or "")
    helps = {p.arg_name: p.description for p in [*described.params, *constructor.params]}
    width = min(shutil.get_terminal_size().columns, 100)
    blocks = [name if info is None else f"{name} ({info.distribution} {info.version})"]
    texts = (described.short_description, described.long_description)
    blocks += [_wrapped(text, width) for text in texts if text]
    parameters = inspect.signature(kind).parameters
    options = [_option(p, _type(p, kind), helps.get(p.name), width) for p in parameters.values()]
    blocks.append("\n".join(["Options:", *options]) if options else "It takes no options.")
    blocks.append(f"runinference score --handler {name} --help shows the other options of a run.")
    return "\n\n".join(blocks)


def _option(parameter: inspect.Parameter, kind: str, text: str | None, width: int) -> str:
    default = "required"
    if parameter.default is not parameter.empty:
        default = f"default {parameter.default!r}"
    told = ", ".join(part for part in (kind, default) if part)
    lines = [f"  --handler.{parameter.name}  ({told})"]
    if text:
        lines.append(_wrapped(text, width, indent="      "))
    return "\n".join(lines)


def _type(parameter: inspect.Parameter, kind: type[Any]) -> str:
    """The annotation as it is written, but the values of a choice instead of its name."""
    try:
        hint = typing.get_type_hints(kind.__init__).get(parameter.name)
    except Exception:  # noqa: BLE001  # an annotation that only a type checker can resolve
        hint = None
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _wrapped(text: str, width: int, indent: str = "") -> str:
    paragraphs = text.replace("``", "`").split("\n\n")
    filled = (
        textwrap.fill(
            " ".join(paragraph.split()),
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for paragraph in paragraphs
    )
    return "\n\n".join(filled)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
