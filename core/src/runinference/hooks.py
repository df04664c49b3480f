"""Tell observers what happens to models and batches: Beam's metrics, a progress display, a report.

An observer is any object with some of the methods of :class:`ObserverSpec`, each marked with
``@observer``. It is found through the entry-point group ``runinference.observers`` (the entry's
value is called without arguments in each process), or registered here for this process.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pluggy

from runinference.entry_points import registrations
from runinference.events import (
    BatchFailed,
    BatchHalved,
    BatchPredicted,
    ExamplesDeduplicated,
    ExamplesFailed,
    ModelClosed,
    ModelLoaded,
    ModelRefused,
    RemoteCalled,
)
from runinference.policy import plugin_refusal

__all__ = [
    "BatchFailed",
    "BatchHalved",
    "BatchPredicted",
    "ExamplesDeduplicated",
    "ExamplesFailed",
    "ModelClosed",
    "ModelLoaded",
    "ModelRefused",
    "Observers",
    "RemoteCalled",
    "observer",
    "observing",
]

_PROJECT = "runinference"
GROUP = "runinference.observers"
_log = logging.getLogger(__name__)
_specification = pluggy.HookspecMarker(_PROJECT)
observer = pluggy.HookimplMarker(_PROJECT)


class ObserverSpec:
    """The calls that an observer may implement; they run in the worker's threads."""

    @_specification
    def model_loaded(self, event: ModelLoaded) -> None:
        """After a load, a warm-up and a validation that succeeded."""

    @_specification
    def model_closed(self, event: ModelClosed) -> None:
        """After a model's last use."""

    @_specification
    def model_refused(self, event: ModelRefused) -> None:
        """After an update that failed; the model before it goes on predicting."""

    @_specification
    def batch_predicted(self, event: BatchPredicted) -> None:
        """After each call of a model."""

    @_specification
    def batch_failed(self, event: BatchFailed) -> None:
        """After each call of a model that raised."""

    @_specification
    def batch_halved(self, event: BatchHalved) -> None:
        """After each call of a model that ran out of memory and is tried in halves."""

    @_specification
    def examples_failed(self, event: ExamplesFailed) -> None:
        """After it is known that examples get no result, where dead letters are asked for."""

    @_specification
    def examples_deduplicated(self, event: ExamplesDeduplicated) -> None:
        """After examples got the prediction of an equal one, without a call of the model."""

    @_specification
    def remote_called(self, event: RemoteCalled) -> None:
        """After each call of a remote model, before what it is told as for any model."""


class Observers:
    """The observers of one worker. One that raises is reported once and never stops a batch."""

    def __init__(self, own: Iterable[object] = ()) -> None:
        self._hook = _manager(*own, *_installed(), *_registered).hook
        self._reported: set[str] = set()

    def model_loaded(self, event: ModelLoaded) -> None:
        """Pass on to every observer."""
        self._call(self._hook.model_loaded, event)

    def model_closed(self, event: ModelClosed) -> None:
        """Pass on to every observer."""
        self._call(self._hook.model_closed, event)

    def model_refused(self, event: ModelRefused) -> None:
        """Pass on to every observer."""
        self._call(self._hook.model_refused, event)

    def batch_predicted(self, event: BatchPredicted) -> None:
        """Pass on to every observer."""
        self._call(self._hook.batch_predicted, event)

    def batch_failed(self, event: BatchFailed) -> None:
        """Pass on to every observer."""
        self._call(self._hook.batch_failed, event)

    def batch_halved(self, event: BatchHalved) -> None:
        """Pass on to every observer."""
        self._call(self._hook.batch_halved, event)

    def examples_failed(self, event: ExamplesFailed) -> None:
        """Pass on to every observer."""
        self._call(self._hook.examples_failed, event)

    def examples_deduplicated(self, event: ExamplesDeduplicated) -> None:
        """Pass on to every observer."""
        self._call(self._hook.examples_deduplicated, event)

    def remote_called(self, event: RemoteCalled) -> None:
        """Pass on to every observer."""
        self._call(self._hook.remote_called, event)

    def _call(self, hook: Any, event: object) -> None:
        try:
            hook(event=event)
        except Exception:  # noqa: BLE001 - an observer may raise anything, and no batch pays for it
            if hook.name not in self._reported:
                self._reported.add(hook.name)
                _log.exception("an observer failed in %s; reported once", hook.name)


def _manager(*observers: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(_PROJECT)
    manager.add_hookspecs(ObserverSpec)
    for one in observers:
        manager.register(one)
    manager.check_pending()  # a misspelled method is an error, not silence
    return manager


_registered: list[object] = []


@contextmanager
def observing(*observers: object) -> Iterator[None]:
    """Register observers for this process; workers set up within the block call them.

    For programs that run a pipeline in their own process, on the embedded runner. An observer that
    is a context manager is entered before the block, and left after it.
    """
    with ExitStack() as stack:
        for one in observers:
            if isinstance(one, AbstractContextManager):
                stack.enter_context(one)
            _registered.append(one)
            stack.callback(_registered.remove, one)
        yield


@functools.cache
def _installed() -> tuple[object, ...]:
    found = []
    for one in registrations(GROUP):
        named = f"observer {one.entry.name!r} of {one.distribution} {one.version}"
        refusal = plugin_refusal(one.distribution)
        if refusal is not None:
            _log.warning("%s is not used: %s", named, refusal)
            continue
        try:
            made = one.entry.load()()
            _manager(made)  # for its check
        except (Exception, SystemExit):  # noqa: BLE001 - a broken plugin harms nobody else
            _log.exception("%s cannot be used", named)
        else:
            found.append(made)
    return tuple(found)
