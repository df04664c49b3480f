"""``runinference handlers``: list the installed handlers, or show the options of one."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Sequence

from runinference.registry import available_handlers, handler_class
from runinference_cli.described_options import DescribedOption, described_options

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
    width = min(shutil.get_terminal_size().columns, 100)
    blocks = [name if info is None else f"{name} ({info.distribution} {info.version})"]
    texts = (described.short_description, described.long_description)
    blocks += [_wrapped(text, width) for text in texts if text]
    options = [_option(option, width) for option in described_options(kind)]
    blocks.append("\n".join(["Options:", *options]) if options else "It takes no options.")
    blocks.append(f"runinference score --handler {name} --help shows the other options of a run.")
    return "\n\n".join(blocks)


def _option(option: DescribedOption, width: int) -> str:
    default = "required" if option.default is None else f"default {option.default}"
    told = ", ".join(part for part in (option.type, default) if part)
    lines = [f"  --handler.{option.name}  ({told})"]
    if option.text:
        lines.append(_wrapped(option.text, width, indent="      "))
    return "\n".join(lines)


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
