"""A file in parts that workers share: row groups of Parquet, whole lines of text."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from runinference_cli.input_file import Source, open_source

__all__ = ["Split", "rows_before", "runs", "split_parquet", "split_text"]

MAX_SPLIT_ROWS = 1024 * 1024
MAX_SPLIT_BYTES = 128 * 1024 * 1024
_COUNT_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows of a file that follow each other.

    Attributes:
        source: the file.
        start: the first row group of a Parquet file; the first byte of a text file.
        end: behind the last one; None for all that there is.
        first_row: how many rows of the file come before; None where only counting tells.
        rows: how many there are; None where only reading tells.
    """

    source: Source
    start: int = 0
    end: int | None = None
    first_row: int | None = 0
    rows: int | None = None


def split_parquet(source: Source, groups: Sequence[tuple[int, int]]) -> list[Split]:
    """Neighbouring row groups together, up to a number of rows and of bytes.

    Args:
        source: the file.
        groups: the rows and the uncompressed bytes of each row group.
    """
    shares = [max(rows / MAX_SPLIT_ROWS, size / MAX_SPLIT_BYTES) for rows, size in groups]
    ends = [0, *itertools.accumulate(rows for rows, _ in groups)]
    return [
        Split(source, run.start, run.stop, ends[run.start], ends[run.stop] - ends[run.start])
        for run in runs(shares, 1.0)
    ] or [Split(source, 0, 0, 0, 0)]


def split_text(source: Source, *, csv_rows_are_lines: bool) -> list[Split]:
    """Cut a file between lines, where these are rows; one split of all where that is not known."""
    are_lines = source.format == "jsonl" or csv_rows_are_lines
    parts = -(-source.size // MAX_SPLIT_BYTES)
    if not are_lines or source.compression is not None or parts < 2:
        return [Split(source)]
    cuts = [0]
    with open_source(source) as file:
        for number in range(1, parts):
            wanted = number * source.size // parts
            if wanted > cuts[-1]:
                cuts.append(_next_line(file, wanted, source.size))
    ends = cuts if cuts[-1] == source.size else [*cuts, source.size]
    return [
        Split(source, start, end, None if start else 0) for start, end in itertools.pairwise(ends)
    ]


def rows_before(split: Split) -> int:
    """How many rows of the file come before the split; counted where that is not known."""
    if split.first_row is not None:
        return split.first_row
    lines, rest, left = 0, b"", split.start
    with open_source(split.source) as file:
        while left and (data := file.read(min(left, _COUNT_BYTES))):
            left -= len(data)
            *whole, rest = (rest + data).split(b"\n")
            lines += sum(1 for line in whole if line.strip())
    header = 1 if split.source.format == "csv" else 0
    return lines - header


def runs(sizes: Sequence[float], enough: float) -> Iterator[range]:
    """Neighbours that are enough together, or one alone that is."""
    start, taken = 0, 0.0
    for number, size in enumerate(sizes):
        if number > start and taken + size > enough:
            yield range(start, number)
            start, taken = number, 0.0
        taken += size
    if sizes:
        yield range(start, len(sizes))


def _next_line(file: BinaryIO, byte: int, size: int) -> int:
    """Where the first line begins that does so at this byte or later; the size where none does."""
    file.seek(byte - 1)
    position = byte - 1
    while data := file.read(_COUNT_BYTES):
        found = data.find(b"\n")
        if found >= 0:
            return min(position + found + 1, size)
        position += len(data)
    return size
