"""How many bytes examples hold, in constant time for each and never by pickling, and a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["num_bytes", "resident_bytes"]

_SCALAR_BYTES = 8


def num_bytes(examples: Sequence[Any]) -> int:
    """Bytes of data in examples; exact for arrays, tensors, tables, bytes and text in ASCII.

    A sequence counts as many times its first item as it is long, so that a list of a million
    numbers costs no more than one of ten.
    """
    return sum(map(_bytes_of, examples))


def _bytes_of(value: Any) -> int:
    size = getattr(value, "nbytes", None)  # numpy, torch, pyarrow
    if isinstance(size, int):
        return size
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_bytes_of(item) for item in value.values())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return sum(map(_bytes_of, value))
    if isinstance(value, Sequence):
        return len(value) * _bytes_of(value[0]) if value else 0
    if hasattr(value, "dtypes") and hasattr(value, "index"):  # a pandas DataFrame or Series
        # extension types, such as strings, have no size of their own
        return len(value) * sum(
            getattr(dtype, "itemsize", _SCALAR_BYTES) for dtype in _dtypes(value)
        )
    if hasattr(value, "indptr") and hasattr(value, "data"):  # a compressed scipy sparse matrix
        return int(value.data.nbytes + value.indices.nbytes + value.indptr.nbytes)
    return _SCALAR_BYTES


def _dtypes(frame: Any) -> list[Any]:
    return list(frame.dtypes) if getattr(frame, "ndim", 1) == 2 else [frame.dtype]


def resident_bytes() -> int:
    """What this process holds in memory now; its highest so far where the system tells no more."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
