"""Find how many rows a model predicts fastest in one call, while it predicts."""

from __future__ import annotations

__all__ = ["BestSize"]

_SMALLEST = 1024
_TRIALS = 2
_WORTHWHILE = 1.05


class BestSize:
    """Doubles the size while throughput grows, and settles on the best once it does not.

    A size is judged by the better of two calls, which leaves out what only the first call pays.
    Threads may share one: a measurement lost to a race costs nothing but a later decision.

    Args:
        largest_bytes: of the rows of one call; larger sizes are not tried.
    """

    def __init__(self, largest_bytes: int = 64 << 20) -> None:
        self._largest_bytes = largest_bytes
        self._trial = _SMALLEST
        self._rates: list[float] = []
        self._best = (_SMALLEST, 0.0)
        self._settled = False

    @property
    def is_settled(self) -> bool:
        """Whether the search is over."""
        return self._settled

    def next(self, bytes_per_row: float) -> int:
        """How many rows the next call should have."""
        bound = max(int(self._largest_bytes / max(bytes_per_row, 1.0)), 1)
        return min(self._best[0] if self._settled else self._trial, bound)

    def record(self, rows: int, seconds: float) -> None:
        """Take note of a call; one of another size than asked for says nothing."""
        if self._settled or rows != self._trial:
            return
        self._rates.append(rows / max(seconds, 1e-9))
        if len(self._rates) < _TRIALS:
            return
        rate = max(self._rates)
        self._rates = []
        if rate > self._best[1] * _WORTHWHILE:
            self._best = (self._trial, rate)
            self._trial *= 2
        else:
            self._settled = True
