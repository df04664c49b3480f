"""How large a call of the model may be."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from runinference.batch import Batch, Positions, RowBatch, TableBatch
from runinference.config import BatchConfig
from runinference.sizing import BestSize

__all__ = ["Limits"]

# What holds where max_tokens is not set, of padded and of filled positions in one call. A small
# transformer is fastest at 1,000 to 4,000 on a CPU, and a call costs it as much as 100 positions.
_PADDED_TOKENS = 4096
_FILLED_TOKENS = 256
_FILLED_SHARE = 0.1


class Limits:
    """How large a call of the model may be; the only place that decides it."""

    def __init__(self, config: BatchConfig) -> None:
        self._config = config
        self._best_size = BestSize()

    def cut(self, batch: Batch) -> Iterator[Positions]:
        """The positions of each call; together every position once."""
        config = self._config
        lengths = self._lengths(batch)
        if lengths is None:
            yield from self._cut_by_weight(range(len(batch)), batch)
        elif config.length_boundaries is None:
            yield from self._cut_by_tokens(range(len(batch)), lengths, batch)
        else:
            buckets: dict[int, list[int]] = {}
            for position, length in enumerate(lengths):
                bucket = bisect.bisect_right(config.length_boundaries, length)
                buckets.setdefault(bucket, []).append(position)
            # the boundaries say how much padding may be, unless there is a budget too
            cut_by_tokens = config.max_tokens is not None
            for _, positions in sorted(buckets.items()):
                if cut_by_tokens:
                    yield from self._cut_by_tokens(positions, lengths, batch)
                else:
                    yield from self._cut_by_weight(positions, batch)

    def _cut_by_tokens(
        self, positions: Positions, lengths: Sequence[int], batch: Batch
    ) -> Iterator[Positions]:
        taken: list[int] = []
        real = 0
        for position in sorted(positions, key=lengths.__getitem__):
            # in ascending order the newcomer is the longest, and each example is padded to it
            length = lengths[position]
            if taken and self._is_too_much(length * (len(taken) + 1), real + length):
                yield from self._cut_by_weight(taken, batch)
                taken, real = [], 0
            taken.append(position)
            real += length
        if taken:
            yield from self._cut_by_weight(taken, batch)

    def _is_too_much(self, padded: int, real: int) -> bool:
        if self._config.max_tokens is not None:
            return padded > self._config.max_tokens
        return padded > _PADDED_TOKENS or padded - real > max(_FILLED_TOKENS, real * _FILLED_SHARE)

    def _cut_by_weight(self, positions: Positions, batch: Batch) -> Iterator[Positions]:
        weight_fn, budget = self._config.weight_fn, self._config.max_weight
        if weight_fn is None or budget is None or not isinstance(batch, RowBatch):
            yield from self._cut_by_size(positions, batch)
            return
        start = weight = 0
        for end, position in enumerate(positions):
            added = weight_fn(batch.examples[position])
            if end > start and weight + added > budget:
                yield from self._cut_by_size(positions[start:end], batch)
                start, weight = end, 0
            weight += added
        yield from self._cut_by_size(positions[start:], batch)

    def _cut_by_size(self, positions: Positions, batch: Batch) -> Iterator[Positions]:
        bound = self._config.max_size or len(positions)
        if isinstance(batch, RowBatch):  # beam.BatchElements has looked for the best size
            for start in range(0, len(positions), bound):
                yield positions[start : start + bound]
            return
        bytes_per_row = batch.table.nbytes / len(batch)
        rows = min(len(positions), bound)
        start = 0
        while start < len(positions):
            left = len(positions) - start
            end = start + min(self._best_size.next(bytes_per_row, rows, left), bound)
            yield positions[start:end]
            start = end

    def fit(self, positions: Positions, bound: int) -> Iterator[Positions]:
        """The same positions in calls of so many as memory suffices for."""
        for start in range(0, len(positions), bound):
            yield positions[start : start + bound]

    def record(self, batch: Batch, seconds: float, grown_bytes: int | None) -> None:
        """Take note of how long a call took, and of the memory; see :class:`BestSize`."""
        if isinstance(batch, TableBatch):
            self._best_size.record(len(batch), seconds, grown_bytes)

    def _lengths(self, batch: Batch) -> Sequence[int] | None:
        length_fn = self._config.length_fn
        if length_fn is not None and isinstance(batch, RowBatch):
            return [length_fn(example) for example in batch.examples]
        return batch.lengths
