"""Find how many rows a model predicts fastest in one call, while it predicts."""

from __future__ import annotations

__all__ = ["BestSize"]

_SMALLEST = 4096
_TRIALS = 2
# Neighbouring sizes differ by less than other work on the machine makes a call slower.
_FALLEN = 0.8


class BestSize:
    """Doubles the size until throughput has fallen for two sizes, and settles on the best of all.

    A size is judged by the better of two calls, which leaves out what only the first call pays and
    what other work on the machine takes from one of them. Threads may share one: a measurement lost
    to a race costs nothing but a later decision.

    Args:
        largest_bytes: of the rows of one call; larger sizes are not tried, since what a network
            computes between its layers is many times as much.
    """

    def __init__(self, largest_bytes: int = 16 << 20) -> None:
        self._largest_bytes = largest_bytes
        self._trial = _SMALLEST
        self._rates: list[float] = []
        self._best = (_SMALLEST, 0.0)
        self._fallen = 0

    @property
    def is_settled(self) -> bool:
        """Whether the search is over."""
        return self._fallen >= _TRIALS

    def next(self, bytes_per_row: float) -> int:
        """How many rows the next call should have."""
        bound = max(int(self._largest_bytes / max(bytes_per_row, 1.0)), 1)
        return min(self._best[0] if self.is_settled else self._trial, bound)

    def record(self, rows: int, seconds: float) -> None:
        """Take note of a call; one of another size than asked for says nothing."""
        if self.is_settled or rows != self._trial:
            return
        self._rates.append(rows / max(seconds, 1e-9))
        if len(self._rates) < _TRIALS:
            return
        rate = max(self._rates)
        self._rates = []
        self._trial *= 2
        self._fallen = self._fallen + 1 if rate < self._best[1] * _FALLEN else 0
        if rate > self._best[1]:
            self._best = (rows, rate)
