"""Carry what a handler reports of a call to the thread that tells observers.

A call may run in a thread of its own, while Beam takes counts in the bundle's thread alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from runinference.hooks import RemoteCalled

__all__ = ["Reports", "asking", "collected", "report"]


BatchT = TypeVar("BatchT")


class Reports(list[RemoteCalled]):
    """What is reported of a call, in order.

    Attributes:
        clock: seconds.
        asked_at: when the collated batch was given to the model; None where nobody told.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock = clock
        self.asked_at: float | None = None


_reports: ContextVar[Reports | None] = ContextVar("runinference_reports", default=None)


@contextmanager
def collected(clock: Callable[[], float] = time.perf_counter) -> Iterator[Reports]:
    """What is reported in this thread within the block."""
    reports = Reports(clock)
    token = _reports.set(reports)
    try:
        yield reports
    finally:
        _reports.reset(token)


def asking(collated: BatchT) -> BatchT:
    """The collated batch itself, and a note that what follows is the model's own time."""
    reports = _reports.get()
    if reports is not None and reports.asked_at is None:
        reports.asked_at = reports.clock()
    return collated


def report(event: RemoteCalled) -> None:
    """Tell observers, once the call is over; nobody where no call is being made."""
    reports = _reports.get()
    if reports is not None:
        reports.append(event)
