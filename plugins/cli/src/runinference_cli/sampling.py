"""End a run on the embedded runner without waiting for Beam's sampling thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.runners.worker.statesampler import StateSampler

__all__ = ["sampled_often"]

_PERIOD_MS = 10


@contextmanager
def sampled_often() -> Iterator[None]:
    """Within the block, bundles that end wait for up to 10 ms instead of 200.

    At the end of a bundle Beam waits for a thread that samples what the bundle does, and sleeps in
    between: 0.1 s on average, of a run that may last one. Only the default of its period says how
    long. The thread does not hold the interpreter's lock, so that it may well wake up more often.
    """
    before = StateSampler.__init__.__defaults__
    StateSampler.__init__.__defaults__ = (_PERIOD_MS,)
    try:
        yield
    finally:
        StateSampler.__init__.__defaults__ = before
