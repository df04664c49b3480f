"""Tables for a terminal, or for a file of plain text."""

from __future__ import annotations

import io
import sys
from typing import Any

__all__ = ["rendered"]

_PLAIN_WIDTH = 120


def rendered(*parts: Any) -> str:
    """What rich makes of tables and texts: as wide as the terminal, in colour where it has any."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    console = Console(
        file=io.StringIO(),
        force_terminal=is_terminal,
        width=None if is_terminal else _PLAIN_WIDTH,
        emoji=False,
        markup=False,
        highlight=False,
    )
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
