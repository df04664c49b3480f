"""Put docstrings, which are written for Sphinx, into Markdown for the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

__all__ = ["SphinxRoles"]

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc):`~?([^`]+)`")
_LITERAL = re.compile(r"::$", re.MULTILINE)


class SphinxRoles(griffe.Extension):
    """Names of classes and functions become code, and what follows ``::`` a block."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that was read."""
        if obj.docstring is not None:
            named = _ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"^::?$", "", _LITERAL.sub(":", named), flags=re.MULTILINE)
