"""Read ahead and write behind: a thread each, few blocks at a time, and no error that is lost.

Decoding, predicting and encoding mostly run outside of Python's lock, so that with these two
threads a worker takes as long as the slowest of the three, where there is a processor for each.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["InOrder", "ahead"]

ItemT = TypeVar("ItemT")


def ahead(items: Iterator[ItemT], count: int = 2) -> Generator[ItemT, None, None]:
    """The same items, of which up to ``count`` are made before they are asked for.

    What making one raises is raised in its place. Closing this ends the thread.
    """
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        made: deque[Future[list[ItemT]]] = deque()
        try:
            for _ in range(count):
                made.append(pool.submit(_next, items))
            while item := made.popleft().result():
                made.append(pool.submit(_next, items))
                yield item[0]
        finally:
            for future in made:
                future.cancel()


class InOrder:
    """Makes calls in another thread, one after the other; after one that failed, no more.

    Args:
        waiting: how many calls may wait for their turn.
    """

    def __init__(self, waiting: int = 2) -> None:
        self._waiting = waiting
        self._pool = ThreadPoolExecutor(1, "write-behind")
        self._calls: deque[Future[None]] = deque()
        self._has_failed = False

    def submit(self, call: Callable[[], None]) -> None:
        """Make a call, once there is room.

        Raises:
            Exception: what an earlier call raised.
        """
        while len(self._calls) > self._waiting:
            self._calls.popleft().result()
        self._calls.append(self._pool.submit(self._run, call))

    def flush(self) -> None:
        """Wait until all calls were made.

        Raises:
            Exception: what one of them raised.
        """
        while self._calls:
            self._calls.popleft().result()

    def stop(self) -> None:
        """Drop the calls that wait; nothing runs afterwards."""
        with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, call: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            call()
        except BaseException:
            self._has_failed = True
            raise


def _next(items: Iterator[ItemT]) -> list[ItemT]:
    """The next item, alone; nothing behind the last (a future cannot carry StopIteration)."""
    for item in items:
        return [item]
    return []
