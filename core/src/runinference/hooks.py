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
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pluggy

from runinference.entry_points import registrations
from runinference.policy import plugin_refusal

__all__ = [
    "BatchFailed",
    "BatchHalved",
    "BatchPredicted",
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


@dataclasses.dataclass(frozen=True)
class ModelLoaded:
    """A model is ready.

    Attributes:
        handler: its name.
        model_id: names the model.
        seconds: the load alone.
        byte_size: what the process grew by.
        sha256: of the model's file, 64 hexadecimal digits; None where the handler tells none.
    """

    handler: str
    model_id: str | None
    seconds: float
    byte_size: int
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelClosed:
    """A model was released."""

    handler: str
    model_id: str | None


@dataclasses.dataclass(frozen=True)
class ModelRefused:
    """A model that was to take the place of another cannot be loaded or is not valid."""

    path: str
    error: Exception


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
        nonfinite: predictions that are not finite, failed ones included.
        collate_seconds: of ``seconds``, until the model got its batch; None where nobody tells.
        prepare_seconds: before ``seconds``; the first of the calls that it was for tells it.
        predictions: a list, or the columns of a table; neither to be changed nor to be kept.
    """

    handler: str
    model_id: str | None
    size: int
    byte_size: int
    seconds: float
    tokens: int | None = None
    padded_tokens: int | None = None
    nonfinite: int = 0
    collate_seconds: float | None = None
    prepare_seconds: float = 0.0
    predictions: Any = dataclasses.field(default=None, repr=False, compare=False)


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


@dataclasses.dataclass(frozen=True)
class ExamplesFailed:
    """Examples leave without a result, all for one reason.

    Attributes:
        handler: its name.
        model_id: names the model that was asked.
        size: examples.
        stage: ``"load"`` or ``"inference"``.
        error_type: of the exception, with its module.
        message: of the exception.
    """

    handler: str
    model_id: str | None
    size: int
    stage: str
    error_type: str
    message: str


@dataclasses.dataclass(frozen=True)
class RemoteCalled:
    """A call of a remote model is over, whether it succeeded or not.

    Attributes:
        handler: its name.
        model_id: names the model.
        latencies: the seconds of each request that it took, the retries last.
        throttled_s: how long it was held back by rate limits, throttling or the server's wish.
        is_rejected: no further request was made, since the server had failed for a while.
        in_flight: how many calls of the worker were under way when it began, with this one.
    """

    handler: str
    model_id: str | None
    latencies: tuple[float, ...]
    throttled_s: float
    is_rejected: bool
    in_flight: int = 1


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
