"""One file to score: where it is, how it is opened, and what is said when it cannot be read."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa

from runinference.errors import RunInferenceError

__all__ = ["ReadError", "Source", "open_source", "readable"]


class ReadError(RunInferenceError):
    """An input file that cannot be read: damaged, or with a row that does not fit."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A file to score.

    Attributes:
        path: local, or of a scheme that Beam's file systems know.
        format: ``parquet``, ``csv`` or ``jsonl``.
        compression: around a CSV or JSON Lines file, as Arrow calls it.
        size: in bytes.
    """

    path: str
    format: str
    compression: str | None
    size: int


@contextlib.contextmanager
def open_source(source: Source) -> Iterator[BinaryIO]:
    """The uncompressed content."""
    with contextlib.ExitStack() as stack:
        if "://" in source.path:
            from apache_beam.io.filesystems import FileSystems  # local files do without

            opened = FileSystems.open(source.path, compression_type="uncompressed")
            file: Any = stack.enter_context(opened)
        else:
            file = stack.enter_context(open(source.path, "rb"))
        if source.compression is not None:
            file = stack.enter_context(pa.CompressedInputStream(file, source.compression))
        yield cast("BinaryIO", file)


@contextlib.contextmanager
def readable(source: Source, rows_before: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Whatever Arrow says of a file, with the file's name before it and what to do behind it.

    Args:
        source: the file.
        rows_before: how many rows of the file come before those that are read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ReadError(f"{source.path}: the file does not exist (any more)") from error
    except PermissionError as error:
        raise ReadError(f"{source.path}: no permission to read it") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ReadError(_message(source, str(error), rows_before)) from error
    except (OSError, EOFError) as error:
        raise ReadError(f"{source.path}: damaged or not readable: {error}") from error


def _message(source: Source, message: str, rows_before: Callable[[], int]) -> str:
    path = source.path
    if source.format == "parquet":
        return f"{path}: not a Parquet file, or a damaged one: {message}"
    found = re.search(
        r"In CSV column #(\d+): Row #(\d+): CSV conversion error to (.+): invalid value '(.*)'",
        message,
        re.DOTALL,
    )
    if found is not None:
        column, counted, kind, value = found.groups()
        row = int(counted) + rows_before()
        return (
            f"{path}: row {row} (the header is row 1), column {int(column) + 1}: {value!r:.60} is "
            f"not {kind}, which the first rows are: correct it, or say --column-types"
        )
    return f"{path}: not a CSV file with a header, or a damaged one: {message}"
