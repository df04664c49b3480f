"""Fill what the code tells into the documentation's pages, between marks::

<!-- from the code: KIND WHAT ... -->
<!-- end -->
"""

from __future__ import annotations

import re
from pathlib import Path

from reference import listing, options
from reference.sources import ROOT

__all__ = ["filled", "pages", "selectors"]

_MARKED = re.compile(r"(<!-- from the code: (\S+)(.*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The pages that have marks."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [path for path in found if _MARKED.search(path.read_text())]


def filled(page: str) -> str:
    """A page with what the code tells now."""
    told: set[str] = set()

    def fill(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n{_made(mark[2], mark[3].split(), told)}\n\n{mark[5]}"

    return _MARKED.sub(fill, page)


def selectors() -> list[str]:
    """What the pages' marks for messages name."""
    marks = [mark for path in pages() for mark in _MARKED.finditer(path.read_text())]
    return [name for mark in marks if mark[2] == "messages" for name in mark[3].split()]


def _made(kind: str, what: list[str], told: set[str]) -> str:
    match kind:
        case "handlers":
            return options.handlers()
        case "beams-handlers":
            return options.beams_handlers()
        case "handler":
            return options.handler_options(*what)
        case "options":
            return options.class_options(*what)
        case "score":
            return options.score_options()
        case "messages":
            return listing.messages_of(what, told)
    raise SystemExit(f"nothing is known to be made for the mark {kind!r}")
