"""Fork a process that has done the slow part already, where that is safe."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

__all__ = ["Footprint", "adopt_orphans", "die_with_parent", "fork"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WAITED = 0.0005


class Footprint:
    """What a process holds that its forks could not use: threads, connections, devices.

    Taken before a model loads, and compared afterwards. A fork has none of its parent's threads, so
    that a library with a pool of them waits for ever, and it shares connections and the state of a
    GPU's driver, so that both are lost. Files that are only read do no harm.
    """

    def __init__(self) -> None:
        self._threads = _threads()
        self._files = _open_files()

    def is_forkable(self) -> bool:
        """Whether nothing of the kind was added."""
        if self._threads is None or self._files is None:  # not on Linux
            return False
        # A library that is safe to fork ends its threads before a fork, and starts them again
        # afterwards when it needs them: OpenBLAS does. So those that are left after one count.
        pid = _fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        threads, files = _threads(), _open_files()
        assert threads is not None
        assert files is not None
        return threads <= self._threads and files <= self._files


def fork(run: Callable[[], None], *, orphan: bool = False) -> int:
    """Run something in a new process with a session of its own, which ends with it; its number.

    Args:
        run: never returns to the caller's code: the process ends after it, or when it raises.
        orphan: leave the process to the nearest ancestor that adopts orphans; 0 is returned.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    parent = os.getpid()
    pid = _fork()
    if not pid:
        if orphan:
            middle = os.getpid()
            if _fork():
                os._exit(0)
            while os.getppid() == middle:
                time.sleep(_WAITED)
            parent = os.getppid()
        _run(run, parent)
    if orphan:
        os.waitpid(pid, 0)
        return 0
    return pid


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends, whatever this process is busy with."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _fork() -> int:
    with warnings.catch_warnings():
        # of Python 3.12 and later, where there are threads: what has them does not need them after
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _run(run: Callable[[], None], parent: int) -> NoReturn:
    status = 1
    try:
        os.setsid()
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.freeze()  # the collector would write to pages that are shared until then
        run()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1 if error.code else 0
        sys.stderr.write(f"SystemExit: {error.code}\n")
    except BaseException:  # noqa: BLE001 - a handler may raise anything, and nobody is above
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status & 0xFF)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _threads() -> int | None:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None


def _open_files() -> set[str] | None:
    """Each open file that is more than a file to read, by its number and what it leads to."""
    found = set()
    try:
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one of this very listing
                target = os.readlink(f"/proc/self/fd/{number}")
                if not (target.startswith("/") and _is_only_read(number)):
                    found.add(f"{number} {target}")
    except OSError:
        return None
    return found


def _is_only_read(number: str) -> bool:
    import fcntl

    flags = fcntl.fcntl(int(number), fcntl.F_GETFL)
    return flags & os.O_ACCMODE == os.O_RDONLY
