"""Find how many rows a model predicts fastest in one call, while it predicts."""

from __future__ import annotations

__all__ = ["BestSize"]

_SMALLEST = 4096
_TRIALS = 2
# Neighbouring sizes differ by less than other work on the machine makes a call slower.
_FALLEN = 0.8
# Sizes that are as close count as one. A call costs a forest as much as 2,000 rows do, so that a
# rest that is as small is not worth one of its own.
_CLOSE = 0.125


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
        self._tried = 0
        self._asked = 0
        self._rates: list[float] = []
        self._best = (_SMALLEST, 0.0)
        self._fallen = 0

    @property
    def is_settled(self) -> bool:
        """Whether the search is over."""
        return self._fallen >= _TRIALS

    def next(self, bytes_per_row: float, rows: int, left: int) -> int:
        """How many of the rows that are left of a table the next call should have.

        Args:
            bytes_per_row: of the table.
            rows: of the table, which no call can exceed.
            left: at least one.
        """
        bound = max(int(self._largest_bytes / max(bytes_per_row, 1.0)), 1)
        size = min(self._trial, bound, max(rows, _SMALLEST))
        is_trial = not self.is_settled and size > self._tried * (1 + _CLOSE)
        if not is_trial:
            size = min(self._best[0], bound)
        self._asked = size if is_trial else 0
        goes_along = not is_trial and left <= size * (1 + _CLOSE)
        return left if goes_along else min(size, left)

    def record(self, rows: int, seconds: float) -> None:
        """Take note of a call; one of another size than was asked for says nothing."""
        if rows != self._asked:
            return
        self._rates.append(rows / max(seconds, 1e-9))
        if len(self._rates) < _TRIALS:
            return
        rate = max(self._rates)
        self._rates = []
        self._tried, self._trial = rows, 2 * rows
        self._fallen = self._fallen + 1 if rate < self._best[1] * _FALLEN else 0
        if rate > self._best[1]:
            self._best = (rows, rate)
