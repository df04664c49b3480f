"""Find how many rows a model predicts fastest in one call, while it predicts."""

from __future__ import annotations

__all__ = ["BestSize"]

_SMALLEST = 4096
# The first size: so many rows, or fewer where these are wide. Most models are about as fast as they
# get, and what a network computes between its layers still fits into memory.
_FIRST = 32_768
_FIRST_BYTES = 8 << 20
_TRIALS = 2
# Neighbouring sizes differ by less than other work on the machine makes a call slower.
_FALLEN = 0.8
# Sizes that are as close count as one. A call costs a forest as much as 2,000 rows do, so that a
# rest that is as small is not worth one of its own.
_CLOSE = 0.125
# A size that needs so much more memory than the one before is the largest that is tried.
_MUCH_MEMORY = 32 << 20


class BestSize:
    """Doubles the size until throughput has fallen for two sizes, and settles on the best of all;
    where none was much better than the first, halves that as long as it gets better.

    A size is judged by the better of two calls, which leaves out what only the first call pays and
    what other work on the machine takes from one of them. Threads may share one: a measurement lost
    to a race costs nothing but a later decision.

    Args:
        largest_bytes: of the rows of one call, where nobody tells how much memory it takes: what a
            network computes between its layers is many times as much.
        furthest_bytes: the same where that is told.
    """

    def __init__(self, largest_bytes: int = 16 << 20, furthest_bytes: int = 64 << 20) -> None:
        self._largest_bytes = largest_bytes
        self._furthest_bytes: int | None = furthest_bytes
        self._largest_rows: int | None = None
        self._first = self._larger = self._smaller = 0
        self._tried = 0
        self._asked = 0
        self._rates: list[float] = []
        self._best = (0, 0.0)
        self._first_rate = 0.0
        self._fallen = 0

    @property
    def is_settled(self) -> bool:
        """Whether no larger size will be tried."""
        return self._fallen >= _TRIALS

    def next(self, bytes_per_row: float, rows: int, left: int) -> int:
        """How many of the rows that are left of a table the next call should have.

        Args:
            bytes_per_row: of the table.
            rows: of the table, which no call can exceed.
            left: at least one.
        """
        width = max(bytes_per_row, 1.0)
        bound = max(int(self._largest_bytes / width), 1)
        if not self._first:
            first = max(min(_FIRST, int(_FIRST_BYTES / width)), _SMALLEST)
            # a table that is little larger goes whole: a part would leave a rest for another call
            self._first = rows if first < rows <= min(2 * first, bound) else first
            self._larger, self._smaller = self._first, self._first // 2
            self._best = (self._first, 0.0)
        larger = min(self._larger, bound, max(rows, _SMALLEST), self._largest_rows or bound)
        is_trial = True
        if not self.is_settled and larger > self._tried * (1 + _CLOSE):
            size = larger
        elif self._smaller >= _SMALLEST and self._may_be_better():
            size = self._smaller
        else:
            size, is_trial = min(self._best[0], bound), False
        self._asked = size if is_trial else 0
        goes_along = not is_trial and left <= size * (1 + _CLOSE)
        return left if goes_along else min(size, left)

    def record(self, rows: int, seconds: float, grown_bytes: int | None = None) -> None:
        """Take note of a call; one of another size than was asked for says nothing.

        Args:
            rows: of the call.
            seconds: that it took.
            grown_bytes: by how much it made the process larger than it ever was; None where the
                model's memory is not this process's.
        """
        if rows != self._asked:
            return
        if grown_bytes is not None and self._furthest_bytes is not None:
            self._largest_bytes = max(self._largest_bytes, self._furthest_bytes)
            self._furthest_bytes = None
        # what the very first call takes may be the library's own
        if self._tried and grown_bytes is not None and grown_bytes > _MUCH_MEMORY:
            self._largest_rows = rows
        self._rates.append(rows / max(seconds, 1e-9))
        if len(self._rates) < _TRIALS:
            return
        rate = max(self._rates)
        self._rates = []
        if rows > self._tried:
            self._tried, self._larger = rows, 2 * rows
            self._fallen = self._fallen + 1 if rate < self._best[1] * _FALLEN else 0
        else:
            self._smaller = rows // 2
        if rows == self._first:
            self._first_rate = rate
        if rate > self._best[1]:
            self._best = (rows, rate)

    def _may_be_better(self) -> bool:
        """Whether a smaller size is worth a trial: the last one that was, or nothing larger was."""
        if self._smaller == self._first // 2:
            return self._first_rate >= self._best[1] * (1 - _CLOSE)
        return self._best[0] == 2 * self._smaller
