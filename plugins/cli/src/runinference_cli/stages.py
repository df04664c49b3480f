"""Seconds that this process spends reading and writing, for who measures a run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Literal

__all__ = ["Stages", "stage", "staged"]

_listening: list[Stages] = []


class Stages:
    """Adds up the seconds of each stage; several threads may be in one at a time.

    Attributes:
        seconds: of ``"read"`` and ``"write"``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds = {"read": 0.0, "write": 0.0}

    def add(self, name: Literal["read", "write"], seconds: float) -> None:
        """Take note of a visit."""
        with self._lock:
            self.seconds[name] += seconds


@contextlib.contextmanager
def staged() -> Iterator[Stages]:
    """What is spent within the block, by all threads of this process."""
    stages = Stages()
    _listening.append(stages)
    try:
        yield stages
    finally:
        _listening.remove(stages)


@contextlib.contextmanager
def stage(name: Literal["read", "write"]) -> Iterator[None]:
    """The block belongs to a stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        for stages in _listening:
            stages.add(name, seconds)
