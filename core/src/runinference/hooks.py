"""Tell observers what happens to models and batches: Beam's metrics, a progress display, a report.

An observer is any object with some of the methods of :class:`ObserverSpec`, each marked with
``@observer``. It is found through the entry-point group ``runinference.observers`` (the entry's
value is called without arguments in each process), or registered here for this process.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import importlib_metadata
import pluggy

__all__ = [
    "BatchFailed",
    "BatchHalved",
    "BatchPredicted",
    "ModelClosed",
    "ModelLoaded",
    "Observers",
    "observer",
    "observing",
]

_PROJECT = "runinference"
GROUP = "runinference.observers"
_log = logging.getLogger(__name__)
_specification = pluggy.HookspecMarker(_PROJECT)
observer = pluggy.HookimplMarker(_PROJECT)


@dataclasses.dataclass(frozen=True)
class ModelLoaded:
    """A model is ready. ``seconds``: the load alone; ``byte_size``: what the process grew by."""

    handler: str
    model_id: str | None
    seconds: float
    byte_size: int


@dataclasses.dataclass(frozen=True)
class ModelClosed:
    """A model was released."""

    handler: str
    model_id: str | None


@dataclasses.dataclass(frozen=True)
class BatchPredicted:
    """A call of the model succeeded.

    Attributes:
        handler: its name.
        model_id: names the model that predicted.
        size: examples.
        byte_size: of the examples.
        seconds: from its examples to its checked predictions.
        tokens: the sum of the examples' lengths; None where the handler does not tell them.
        padded_tokens: the longest one's length times ``size``.
    """

    handler: str
    model_id: str | None
    size: int
    byte_size: int
    seconds: float
    tokens: int | None = None
    padded_tokens: int | None = None


@dataclasses.dataclass(frozen=True)
class BatchFailed:
    """A call of the model raised."""

    handler: str
    model_id: str | None
    size: int
    error: Exception


@dataclasses.dataclass(frozen=True)
class BatchHalved:
    """A call of the model ran out of memory, and each half of its examples is tried on its own."""

    handler: str
    model_id: str | None
    size: int


class ObserverSpec:
    """The calls that an observer may implement; they run in the worker's threads."""

    @_specification
    def model_loaded(self, event: ModelLoaded) -> None:
        """After a load, a warm-up and a validation that succeeded."""

    @_specification
    def model_closed(self, event: ModelClosed) -> None:
        """After a model's last use."""

    @_specification
    def batch_predicted(self, event: BatchPredicted) -> None:
        """After each call of a model."""

    @_specification
    def batch_failed(self, event: BatchFailed) -> None:
        """After each call of a model that raised."""

    @_specification
    def batch_halved(self, event: BatchHalved) -> None:
        """After each call of a model that ran out of memory and is tried in halves."""


class Observers:
    """The observers of one worker. One that raises is reported once and never stops a batch."""

    def __init__(self, own: Iterable[object] = ()) -> None:
        manager = pluggy.PluginManager(_PROJECT)
        manager.add_hookspecs(ObserverSpec)
        for registered in (*own, *_installed(), *_registered):
            manager.register(registered)
        manager.check_pending()  # a misspelled method is an error, not silence
        self._hook = manager.hook
        self._reported: set[str] = set()

    def model_loaded(self, event: ModelLoaded) -> None:
        """Pass on to every observer."""
        self._call(self._hook.model_loaded, event)

    def model_closed(self, event: ModelClosed) -> None:
        """Pass on to every observer."""
        self._call(self._hook.model_closed, event)

    def batch_predicted(self, event: BatchPredicted) -> None:
        """Pass on to every observer."""
        self._call(self._hook.batch_predicted, event)

    def batch_failed(self, event: BatchFailed) -> None:
        """Pass on to every observer."""
        self._call(self._hook.batch_failed, event)

    def batch_halved(self, event: BatchHalved) -> None:
        """Pass on to every observer."""
        self._call(self._hook.batch_halved, event)

    def _call(self, hook: Any, event: object) -> None:
        try:
            hook(event=event)
        except Exception:  # noqa: BLE001 - an observer may raise anything, and no batch pays for it
            if hook.name not in self._reported:
                self._reported.add(hook.name)
                _log.exception("an observer failed in %s; reported once", hook.name)


_registered: list[object] = []


@contextmanager
def observing(*observers: object) -> Iterator[None]:
    """Register observers for this process; workers set up within the block call them.

    For programs that run a pipeline in their own process, on the embedded runner.
    """
    _registered.extend(observers)
    try:
        yield
    finally:
        for registered in observers:
            _registered.remove(registered)


@functools.cache
def _installed() -> tuple[object, ...]:
    found = []
    for entry in importlib_metadata.entry_points(group=GROUP):
        try:
            found.append(entry.load()())
        except Exception:  # noqa: BLE001 - a broken plugin harms nobody else
            distribution = entry.dist.name if entry.dist else "an unknown distribution"
            _log.exception("observer %r of %s cannot be used", entry.name, distribution)
    return tuple(found)
