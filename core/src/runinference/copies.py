"""What all copies of a step in this process share, such as its models."""

from __future__ import annotations

import atexit
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, TypeVar

from runinference.hooks import Observers

__all__ = ["Copies"]

SharedT = TypeVar("SharedT")

_REMEMBERED = 1000


class Copies(Generic[SharedT]):
    """Makes what a step shares for its first copy, and ends it after the last.

    Some runners, such as Beam's direct runner of streams, set a step up for every bundle, and would
    load its models as often. A step that comes back after its last copy had left is one of those:
    from then on what it shares stays, until another such step leaves or the process ends.

    Args:
        end: lets go of what a step shared.
    """

    def __init__(self, end: Callable[[SharedT, Observers], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._shared: dict[str, SharedT] = {}
        self._copies: Counter[str] = Counter()
        self._left: deque[str] = deque(maxlen=_REMEMBERED)
        self._kept: str | None = None
        atexit.register(self._end_kept)

    def enter(self, step: str, make: Callable[[], SharedT]) -> SharedT:
        """One more copy of a step; to be undone with :meth:`leave`.

        Args:
            step: its name.
            make: what its copies share, where there is none yet.
        """
        with self._lock:
            if step not in self._shared:
                self._shared[step] = make()
            if step == self._kept:
                self._kept = None
            self._copies[step] += 1
            return self._shared[step]

    def leave(self, step: str, observers: Observers) -> None:
        """Undo one :meth:`enter`."""
        with self._lock:
            self._copies[step] -= 1
            if self._copies[step]:
                return
            del self._copies[step]
            ended: str | None = step
            if step in self._left:
                ended, self._kept = self._kept, step
            else:
                self._left.append(step)
            if ended is None:
                return
            shared = self._shared.pop(ended)
        self._end(shared, observers)

    def _end_kept(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, None
            if kept is None:
                return
            shared = self._shared.pop(kept)
        self._end(shared, Observers([]))
