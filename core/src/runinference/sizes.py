"""How many bytes examples hold, in constant time for each and never by pickling."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["num_bytes"]

_SCALAR_BYTES = 8


def num_bytes(examples: Sequence[Any]) -> int:
    """Bytes of data in examples; exact for arrays, tensors, tables, bytes and text in ASCII.

    Every number in a frame counts 8 bytes. A sequence counts as many times its first item as it is
    long, so that a list of a million numbers costs no more than one of ten.
    """
    kinds = set(map(type, examples))
    if len(kinds) != 1:
        return sum(map(_bytes_of, examples))
    [kind] = kinds
    if issubclass(kind, dict):
        return _bytes_of_dicts(examples)
    return sum(map(_sizes.get(kind) or _size_of(examples[0]), examples))


def _bytes_of_dicts(examples: Sequence[dict[Any, Any]]) -> int:
    """Those of a step have the same keys as a rule, and then each key's values count together."""
    names = examples[0].keys()
    if all(map(names.__eq__, map(dict.keys, examples))):
        return sum(num_bytes([example[name] for example in examples]) for name in names)
    return sum(map(_bytes_of, examples))


def _bytes_of(value: Any) -> int:
    kind = type(value)
    size = _sizes.get(kind)
    if size is None:
        size = _sizes[kind] = _size_of(value)
    return size(value)


_sizes: dict[type, Callable[[Any], int]] = {}


def _size_of(value: Any) -> Callable[[Any], int]:
    """What tells the size of this value and of any other of its class."""
    if hasattr(value, "iloc"):  # pandas, whose own counts cost up to a millisecond
        return _bytes_of_frame
    if isinstance(getattr(value, "nbytes", None), int):  # numpy, torch, pyarrow
        return operator.attrgetter("nbytes")
    if isinstance(value, str | bytes | bytearray):
        return len
    if isinstance(value, Mapping):
        return lambda value: num_bytes(tuple(value.values()))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return num_bytes
    if isinstance(value, Sequence):
        return lambda value: len(value) * _bytes_of(value[0]) if value else 0
    if hasattr(value, "indptr") and hasattr(value, "data"):  # a compressed scipy sparse matrix
        return lambda value: value.data.nbytes + value.indices.nbytes + value.indptr.nbytes
    return lambda value: _SCALAR_BYTES


def _bytes_of_frame(value: Any) -> int:
    columns = len(value.columns) if hasattr(value, "columns") else 1
    return _SCALAR_BYTES * len(value) * columns
