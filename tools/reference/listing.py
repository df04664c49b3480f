"""List messages in the page that explains them, by the modules that print them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reference.messages import Message, messages

__all__ = ["covered", "messages_of"]

_HEADS = {
    "warning": "Warnings in the log",
    "part": "Words within these messages",
    "told": "What `runinference doctor` says",
}


def messages_of(selectors: Sequence[str], told: set[str]) -> str:
    """The messages of modules, by error class.

    Args:
        selectors: each ``module`` or ``module:ErrorClass``.
        told: texts that the page has already, to which these are added.
    """
    chosen = [message for message in covered(selectors) if message.text not in told]
    if not chosen:
        raise SystemExit(f"there are no messages of {' '.join(selectors)}")
    told.update(message.text for message in chosen)
    kinds = sorted({message.kind for message in chosen}, key=lambda kind: (kind in _HEADS, kind))
    return "\n\n".join(_of_kind(kind, [m for m in chosen if m.kind == kind]) for kind in kinds)


def covered(selectors: Iterable[str]) -> list[Message]:
    """The messages that selectors name."""
    found = []
    for selector in selectors:
        module, _, kind = selector.partition(":")
        found += [m for m in messages() if m.module == module and kind in ("", m.kind)]
    return found


def _of_kind(kind: str, chosen: Sequence[Message]) -> str:
    texts = sorted({message.text for message in chosen}, key=_by_words)
    lines = [f"- {_code(text)}" for text in texts]
    return "\n".join([f"{_HEADS.get(kind, f'`{kind}`')}:", "", *lines])


def _by_words(text: str) -> tuple[str, str]:
    return re.sub(r"^\W+", "", text).lower(), text


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{text}{blank}{fence}"
