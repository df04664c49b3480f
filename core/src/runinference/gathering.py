"""What is predicted together: elements of a bundle that wait for each other in the worker.

An element waits as the runner gave it, a ``WindowedValue``, so that its time, windows and pane are
kept without a step of their own: a result is the same with another value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import apache_beam as beam

__all__ = ["Elements", "Gather", "GatherExamples", "Unpack", "for_any_consumer"]

Elements: TypeAlias = Sequence[Any]
"""Elements to predict together, each a ``WindowedValue`` in one window."""


class Gather(Protocol):
    """Decides which elements of a bundle are predicted together."""

    def start(self) -> None:
        """Nothing waits from one bundle to the next."""

    def add(self, windowed: Any) -> Elements | None:
        """Take one more; what is to be predicted now, if anything."""

    def rest(self) -> Iterator[Elements]:
        """What is left at the end of the bundle."""

    def timing(self, size: int) -> AbstractContextManager[None]:
        """Around the prediction of so many, to learn how many are best."""


class GatherExamples:
    """Single examples, in whatever windows, as many as ``beam.BatchElements`` finds best.

    Args:
        kwargs: of ``beam.BatchElements``.
    """

    def __init__(self, kwargs: dict[str, Any]) -> None:
        # Its other parts would put each batch into one window and each example into a step of its
        # own; how it learns the best size is not to be had without it.
        self._sizes = beam.BatchElements(**kwargs)._batch_size_estimator

    def start(self) -> None:
        """See :class:`Gather`."""
        self._waiting: list[Any] = []
        self._enough = self._sizes.next_batch_size()
        self._sizes.ignore_next_timing()  # the first call of a bundle may have more to do

    def add(self, windowed: Any) -> Elements | None:
        """See :class:`Gather`."""
        waiting = self._waiting
        waiting.append(windowed)
        if len(waiting) < self._enough:
            return None
        self._waiting = []
        return waiting

    def rest(self) -> Iterator[Elements]:
        """See :class:`Gather`."""
        if self._waiting:
            yield self._waiting

    @contextlib.contextmanager
    def timing(self, size: int) -> Iterator[None]:
        """See :class:`Gather`."""
        with self._sizes.record_time(size):
            yield
        self._enough = self._sizes.next_batch_size()


class Unpack:
    """Elements that are batches already: each is one of its own.

    Args:
        unpack: the examples of an element, each with a time and in the element's window.
    """

    def __init__(self, unpack: Callable[[Any], Elements]) -> None:
        self._unpack = unpack

    def start(self) -> None:
        """See :class:`Gather`."""

    def add(self, windowed: Any) -> Elements | None:
        """See :class:`Gather`."""
        return self._unpack(windowed)

    def rest(self) -> Iterator[Elements]:
        """See :class:`Gather`."""
        return iter(())

    def timing(self, size: int) -> AbstractContextManager[None]:
        """See :class:`Gather`."""
        return contextlib.nullcontext()


def for_any_consumer(results: beam.PCollection[Any], label: str) -> beam.PCollection[Any]:
    """The same elements, behind a step that does nothing else.

    What a DoFn emits at the end of a bundle, Beam 2.77 gives to a consumer of batches
    (``process_batch``, as ``WriteToParquet`` has for rows) after it has taken its last batch: the
    elements are lost without an error. A step in between has an end of its own, which comes later.
    """
    settled: beam.PCollection[Any] = (results,) | label >> beam.Flatten()
    return settled
