"""What ran, for a reader of the report: versions, machine, options; without what is secret."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import importlib_metadata

__all__ = ["Run", "command_line", "machine", "options_told", "origin", "versions"]

_FRAMEWORKS = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "transformers": "transformers",
    "xgboost": "xgboost",
}
_SECRET = re.compile(r"token|secret|passw|api.?key|credential|authori[sz]ation", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "(hidden)"


@dataclasses.dataclass(frozen=True)
class Run:
    """What is known of a run besides what was heard.

    Attributes:
        began: when.
        verb: of what became of its rows: ``"Scored"`` or ``"Predicted"``.
        outcome: how it ended.
        message: why, where it did not end well.
        rows: that have a result in their place; None where only those that were heard are known.
        failed_rows: likewise.
        facts: what ran, by names.
        stages: the seconds of reading and writing; None where nobody tells.
        failures_in: the folder of failed rows.
        unheard: why no batch was heard of, where that was to be expected.
    """

    began: datetime.datetime
    verb: str
    outcome: Literal["done", "failed", "interrupted"]
    message: str = ""
    rows: int | None = None
    failed_rows: int | None = None
    facts: Sequence[tuple[str, Any]] = ()
    stages: Mapping[str, float] | None = None
    failures_in: str | None = None
    unheard: str = ""


def command_line(arguments: Iterable[str]) -> str:
    """A command as a shell takes it; values of options that are called like secrets are hidden."""
    told, is_hidden = [], False
    for argument in arguments:
        if is_hidden and not argument.startswith("-"):
            told.append(_HIDDEN)
            continue
        name, equals, _ = argument.partition("=")
        is_hidden = argument.startswith("-") and bool(_SECRET.search(name))
        if is_hidden and equals:
            told.append(f"{name}={_HIDDEN}")
            is_hidden = False
        else:
            told.append(shlex.quote(_LOGIN.sub(_HIDDEN, argument)))
    return " ".join(told)


def options_told(options: Mapping[str, Any]) -> str:
    """Options with their values; those that are called like secrets are hidden."""
    lines = []
    for name, value in options.items():
        shown = _HIDDEN if _SECRET.search(name) else _LOGIN.sub(_HIDDEN, _shown(value))
        lines.append(f"{name} = {shown}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = options_told({str(key): own for key, own in value.items()})
        return f"{{{', '.join(inner.splitlines())}}}"
    return f"{value!r:.300}"


def origin(kind: type[Any]) -> str:
    """The distribution and version of a class, where the distribution is called like its module."""
    name = kind.__module__.partition(".")[0]
    try:
        return f"{name.replace('_', '-')} {importlib_metadata.version(name)}"
    except importlib_metadata.PackageNotFoundError:
        return ""


def machine() -> str:
    """Which processors and system."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} processors ({platform.machine()}), {platform.system()} {platform.release()}"


def versions() -> str:
    """Of Python, and of the libraries that are in use here."""
    told = [f"Python {platform.python_version()}"]
    names = ["runinference", "apache-beam", "pyarrow"]
    names += [name for module, name in _FRAMEWORKS.items() if module in sys.modules]
    for name in names:
        try:
            told.append(f"{name} {importlib_metadata.version(name)}")
        except importlib_metadata.PackageNotFoundError:
            continue
    return ", ".join(told)
