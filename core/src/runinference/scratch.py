"""Memory for what a model is given, taken again by the next call."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["scratch"]

# Larger arrays are made anew: a thread would hold on to so much until it ends.
_MOST_BYTES = 64 << 20


class _Memory(threading.local):
    """Each thread's own; nothing at first."""

    owner: np.ndarray[Any, Any] | None = None


_memory = _Memory()


def scratch(shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
    """An array with anything in it, where the last one was, unless something still uses that.

    Memory that is new is cleared by the system, page by page, which takes as long as filling it.
    Every view of an array counts as a use: a prediction that is part of what the model was given
    keeps it, and what is given next is elsewhere.
    """
    dtype = np.dtype(dtype)
    count = math.prod(shape) * dtype.itemsize
    if count > _MOST_BYTES or dtype.hasobject:
        return np.empty(shape, dtype)
    owner, _memory.owner = _memory.owner, None
    # two references: the variable, and the argument of getrefcount()
    if owner is None or len(owner) < count or sys.getrefcount(owner) > 2:
        owner = np.empty(count, np.uint8)
    _memory.owner = owner
    made: np.ndarray[Any, Any] = owner[:count].view(dtype).reshape(shape)
    return made
