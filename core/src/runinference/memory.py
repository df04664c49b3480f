"""This process's memory: how much it holds, and what the garbage collector need not look at."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

__all__ = ["LongLived", "available_bytes", "peak_bytes", "resident_bytes"]

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
        self._is_program_doing_so = False

    def freeze(self) -> None:
        """Leave out what is alive now, unless that has been done."""
        if self._is_frozen or self._is_program_doing_so:
            return
        if gc.get_freeze_count() > _FROZEN_AT_START:  # which counts them, one by one
            self._is_program_doing_so = True
            return
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
    return peak_bytes()


def peak_bytes() -> int:
    """The most that this process has held in memory so far; 0 where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int | None:
    """What this process may still take: of the machine, or of its container if that has less.

    None where the system does not tell.
    """
    found = [_free_of_machine(), _free_of_container()]
    return min((free for free in found if free is not None), default=None)


def _free_of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None


def _free_of_container() -> int | None:
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups, versions 2 and 1
        try:
            text = Path("/sys/fs/cgroup", limit).read_text().strip()
        except OSError:
            continue
        return int(text) - resident_bytes() if text.isdigit() else None
    return None
