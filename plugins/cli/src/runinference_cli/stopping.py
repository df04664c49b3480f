"""Signals that ask a run to end: raised where it can clean up, until results are put into place."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["Stopped", "stoppable", "unstoppable"]

_SIGNALS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}


class Stopped(KeyboardInterrupt):
    """The process was asked to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, message: str = "interrupted", number: int = signal.SIGINT) -> None:
        super().__init__(message, number)
        self.number = number

    def __str__(self) -> str:
        return str(self.args[0])


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have each of these signals raise :class:`Stopped` in the main thread.

    One that is ignored, as under ``nohup``, stays so, and in another thread than the main one they
    all do what they did before.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def unstoppable() -> None:
    """Ignore these signals from here to the end of :func:`stoppable`."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_IGN)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    how = _SIGNALS[signal.Signals(number)]
    raise Stopped(f"{how}: no results were put into place", number)
