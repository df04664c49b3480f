"""Carry what a handler reports of a call to the thread that tells observers.

A call may run in a thread of its own, while Beam takes counts in the bundle's thread alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from runinference.hooks import RemoteCalled

__all__ = ["collected", "report"]

_reports: ContextVar[list[RemoteCalled] | None] = ContextVar("runinference_reports", default=None)


@contextmanager
def collected() -> Iterator[list[RemoteCalled]]:
    """What is reported in this thread within the block."""
    reports: list[RemoteCalled] = []
    token = _reports.set(reports)
    try:
        yield reports
    finally:
        _reports.reset(token)


def report(event: RemoteCalled) -> None:
    """Tell observers, once the call is over; nobody where no call is being made."""
    reports = _reports.get()
    if reports is not None:
        reports.append(event)
