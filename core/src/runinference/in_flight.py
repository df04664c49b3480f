"""Calls of a model that are under way at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

__all__ = ["InFlight"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class InFlight(Generic[ItemT, ResultT]):
    """At most so many calls at a time, each in a thread; a single one where it is started.

    Belongs to one worker, whose thread starts the calls and takes what came of them.

    Args:
        most: how many.
    """

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._pool = None if most == 1 else ThreadPoolExecutor(most, "runinference-call")
        self._running: dict[Future[ResultT], ItemT] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_full(self) -> bool:
        """Whether one has to be taken before another is started."""
        return len(self._running) >= self._most

    def start(self, item: ItemT, call: Callable[[], ResultT]) -> None:
        """Make a call for an item."""
        if self._pool is not None:
            self._running[self._pool.submit(call)] = item
            return
        done: Future[ResultT] = Future()
        done.set_result(call())
        self._running[done] = item

    def take(self) -> tuple[ItemT, ResultT]:
        """An item whose call is over, and what came of it; waits for one.

        Raises:
            BaseException: what the call raised.
        """
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        future = next(iter(done))
        item = self._running.pop(future)
        return item, future.result()

    def drop(self) -> None:
        """Forget the calls that are under way, once all of them are over."""
        for future in self._running:
            future.cancel()
        wait(self._running)
        self._running = {}

    def close(self) -> None:
        """End the threads."""
        self.drop()
        if self._pool is not None:
            self._pool.shutdown()
