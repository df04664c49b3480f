"""Guess which name was meant, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "listed", "nearest"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest in spelling, in whatever case, or None where none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The beginning of a sentence, with a blank behind it; empty where no name is near."""
    near = nearest(name, known)
    return "" if near is None else f"did you mean {near!r}? "


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names in quotes; past the ``most``, how many more there are."""
    every = [repr(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
