"""Statistics of a run in bounded memory, however many batches it has."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

__all__ = ["Bar", "LogHistogram", "Sample", "TimeBins"]

Bar = tuple[float, float, float]
"""The lower bound, the upper bound and the height of a histogram's bar."""


class LogHistogram:
    """Counts positive numbers in bins of which 16 make an octave.

    A quantile is within 2.2 percent of the true one; the mean, least and greatest are exact.

    Attributes:
        count: numbers.
        total: their sum.
        least: of them; infinite where there are none.
        greatest: of them; 0 where there are none.
    """

    _PER_OCTAVE = 16

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.greatest = 0.0
        self._bins: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Count a number; one below 1e-9 as 1e-9."""
        value = max(value, 1e-9)
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
        number = math.floor(math.log2(value) * self._PER_OCTAVE)
        self._bins[number] = self._bins.get(number, 0) + 1

    @property
    def mean(self) -> float:
        """Of the numbers, of which there is at least one."""
        return self.total / self.count

    def quantile(self, share: float) -> float:
        """What this share of the numbers, of which there is at least one, is not above."""
        wanted, seen = share * self.count, 0
        for number in sorted(self._bins):
            seen += self._bins[number]
            if seen >= wanted:
                middle: float = 2 ** ((number + 0.5) / self._PER_OCTAVE)
                return min(max(middle, self.least), self.greatest)
        return self.greatest

    def bars(self, most: int = 32) -> list[Bar]:
        """The counts between powers of two, or fractions of them, from the least number on."""
        first, last = min(self._bins), max(self._bins)
        step = 1
        while (last - first) // step >= most:
            step *= 2
        counts: dict[int, int] = {}
        for number, count in self._bins.items():
            counts[number // step] = counts.get(number // step, 0) + count
        own = step / self._PER_OCTAVE
        return [
            (2 ** (number * own), 2 ** ((number + 1) * own), counts.get(number, 0))
            for number in range(min(counts), max(counts) + 1)
        ]


class TimeBins:
    """Amounts over time, in bins that double their width when time outgrows them.

    Args:
        most: bins.
        width: of a bin at first, in seconds.
        together: of two amounts in one bin; their sum if not told.

    Attributes:
        width: of a bin now, in seconds.
        amounts: of each bin, from second 0 on.
        end: the last second of an amount.
    """

    def __init__(
        self,
        most: int = 120,
        width: float = 0.05,
        together: Callable[[float, float], float] = lambda one, other: one + other,
    ) -> None:
        self._most = most
        self._together = together
        self.width = width
        self.amounts: list[float] = []
        self.end = 0.0

    def add(self, start: float, end: float, amount: float) -> None:
        """Spread an amount evenly from one second to another, which is not before it."""
        start = max(start, 0.0)
        self.end = max(self.end, end)
        first, last = self._bin(start), self._bin(end)
        while last >= self._most:
            self._double()
            first, last = self._bin(start), self._bin(end)
        if first == last:
            self._put(first, amount)
            return
        for number in range(first, last + 1):
            since, until = number * self.width, (number + 1) * self.width
            share = (min(end, until) - max(start, since)) / (end - start)
            self._put(number, amount * share)

    def rates(self) -> list[float]:
        """Amounts per second in each bin; not in a last one that had only begun."""
        rates = [amount / self.width for amount in self.amounts]
        whole = self.end / self.width - (len(rates) - 1)
        if whole < 0.5 and len(rates) > 1:
            return rates[:-1]
        return [*rates[:-1], rates[-1] / min(whole, 1)] if rates else []

    def _bin(self, second: float) -> int:
        return int(second / self.width)

    def _put(self, number: int, amount: float) -> None:
        while len(self.amounts) <= number:
            self.amounts.append(0.0)
        self.amounts[number] = self._together(self.amounts[number], amount)

    def _double(self) -> None:
        pairs = zip(self.amounts[::2], [*self.amounts[1::2], 0.0], strict=False)
        self.amounts = [self._together(*pair) for pair in pairs]
        self.width *= 2


class Sample:
    """Which of a run's rows to look at: all of the first, and later ones as likely as those.

    Args:
        most: rows to be kept.
        random: a generator.

    Attributes:
        share: of all rows so far, those that are kept; 1 as long as that is all of them.
    """

    def __init__(self, most: int, random: np.random.Generator) -> None:
        self._most = most
        self._kept = 0.0
        self.random = random
        self.share = 1.0

    def admit(self, count: int) -> float:
        """Let so many rows come; which share of what was kept before may stay."""
        stays = 1.0
        while (self._kept + count * self.share) * stays > self._most:
            stays /= 2
        self.share *= stays
        self._kept = self._kept * stays + count * self.share
        return stays

    def draw(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Which of the rows that came to keep."""
        if self.share == 1:
            return np.arange(count)
        return self.random.integers(0, count, self.random.binomial(count, self.share))
