"""This process's memory: how much it holds, and what the garbage collector need not look at."""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["LongLived", "resident_bytes"]

# Some versions of Python start with frozen objects of their own.
_FROZEN_AT_START = gc.get_freeze_count()


class LongLived:
    """Takes what is alive out of the garbage collector's rounds while models are loaded.

    A framework and its model are about a million objects. Batches of many small examples make the
    collector look for garbage again and again, and each full round walks over all of those: with
    one-row frames that was two thirds of the whole time. Objects that are frozen are still freed
    when nothing refers to them any more; only cycles of them wait until :meth:`thaw`.

    Nothing is frozen where the program has done so itself.
    """

    def __init__(self) -> None:
        self._is_frozen = False

    def freeze(self) -> None:
        """Leave out what is alive now, unless that has been done."""
        if not self._is_frozen and gc.get_freeze_count() <= _FROZEN_AT_START:
            gc.freeze()
            self._is_frozen = True

    def thaw(self) -> None:
        """Look at everything again."""
        if self._is_frozen:
            gc.unfreeze()
            self._is_frozen = False


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
