"""Change the model of a step while it runs: load, warm up, validate, and only then swap."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, NamedTuple

from runinference.copies import Copies
from runinference.hooks import ModelRefused, Observers
from runinference.loader import process_loader
from runinference.model import LoadedModel
from runinference.model_files import Refusals, Update, newest, stamp_of
from runinference.versions import ModelVersion

__all__ = ["Current", "ModelMetadata", "Polling", "as_update"]

_log = logging.getLogger(__name__)


class ModelMetadata(NamedTuple):
    """An element of a side input that tells which model is to be used from now on.

    Attributes:
        model_id: the model's path, which the handler's ``update_model_path`` takes.
        model_name: for a reader.
    """

    model_id: str
    model_name: str = ""


@dataclasses.dataclass(frozen=True)
class Polling:
    """Where and how often a worker looks for a new model.

    Attributes:
        pattern: of files; the one that was changed last is the model.
        interval_s: seconds between two looks.
    """

    pattern: str
    interval_s: float


class Current:
    """The model that all copies of a step in this process predict with.

    A copy attaches itself when it is set up. A batch leases the model that is current when it
    begins, and keeps it to its end. Whoever swaps first does it for all; the others go on with the
    old model meanwhile.
    """

    _copies: ClassVar[Copies[Current]]

    def __init__(self, version: ModelVersion, clock: Callable[[], float] = time.monotonic) -> None:
        self.version = version
        self._publishing = threading.RLock()
        self._swapping = threading.Lock()
        self._seen: Update | None = None
        self._refusals = Refusals(clock)
        self._polls = threading.Lock()
        self._poller: _Poller | None = None
        self._own_path = getattr(version.handler, "model_path", None)

    @classmethod
    def attach(
        cls, step: str, version: ModelVersion, polling: Polling | None, observers: Observers
    ) -> Current:
        """The current model of a step, loaded; to be detached.

        Raises:
            Exception: what the load raised.
        """
        current = cls._copies.enter(step, functools.partial(cls._held, version))
        try:
            with current.lease(observers):
                pass
            if polling is not None:
                current._poll(polling, observers)
        except BaseException:
            current.detach(step, observers)
            raise
        return current

    @classmethod
    def _held(cls, version: ModelVersion) -> Current:
        process_loader.hold(version)
        return cls(version)

    def detach(self, step: str, observers: Observers) -> None:
        """Undo one :meth:`attach`."""
        self._copies.leave(step, observers)

    def _end(self, observers: Observers) -> None:
        if self._poller is not None:
            self._poller.stop()
        process_loader.release(self.version, observers)

    @contextmanager
    def lease(self, observers: Observers) -> Iterator[LoadedModel]:
        """The current model, which stays loaded within the block."""
        with ExitStack() as stack:
            with self._publishing:  # or it might be closed between the two lines
                model = stack.enter_context(process_loader.lease(self.version, observers))
            yield model

    def swap(self, update: Update, observers: Observers) -> None:
        """Load, warm up and validate another model, and predict with it from then on.

        One that fails is reported and leaves the old one in place; it is tried again when its file
        has changed. Nothing is done where another thread is at it.
        """
        if update == self._seen or not self._swapping.acquire(blocking=False):
            return
        try:
            if update != self._seen and not self._refusals.has(update):
                self._swap(update, observers)
        finally:
            self._swapping.release()

    def _swap(self, update: Update, observers: Observers) -> None:
        version = dataclasses.replace(self.version, path=update.path, stamp=update.stamp)
        stamp = update.stamp or stamp_of(update.path)
        process_loader.wait_for_unused()  # so that there are never more than two
        process_loader.hold(version)
        try:
            with process_loader.lease(version, observers):
                pass
        except Exception as error:  # noqa: BLE001 - whatever a load, a warm-up or a check raises
            process_loader.release(version, observers)
            self._refusals.add(update.path, stamp)
            _log.warning("model %s is refused, the old one stays: %s", update.path, error)
            observers.model_refused(ModelRefused(update.path, error))
            return
        self._refusals.clear()
        with self._publishing:
            before, self.version, self._seen = self.version, version, update
        process_loader.release(before, observers)

    def _poll(self, polling: Polling, observers: Observers) -> None:
        found = newest(polling.pattern)
        with self._polls:
            if self._poller is not None:
                return
            if found is not None and found.path == self._own_path:
                self._seen = found  # it is loaded already
            self._poller = _Poller(self, polling, observers)
            self._poller.start()


Current._copies = Copies(Current._end)


class _Poller(threading.Thread):
    """Looks for a new model in the background, while batches are predicted with the old one."""

    def __init__(self, current: Current, polling: Polling, observers: Observers) -> None:
        super().__init__(name="runinference-poll", daemon=True)
        self._current = current
        self._polling = polling
        self._observers = observers
        self._stopped = threading.Event()
        self._is_told = False

    def run(self) -> None:
        while True:
            self._look()
            if self._stopped.wait(self._polling.interval_s):
                return

    def stop(self) -> None:
        """End the thread, once it has looked."""
        self._stopped.set()
        self.join()

    def _look(self) -> None:
        try:
            found = newest(self._polling.pattern)
        except Exception as error:  # noqa: BLE001 - any file system's error; the next look may do
            if not self._is_told:
                self._is_told = True
                _log.warning("cannot look for models in %s: %s", self._polling.pattern, error)
            return
        self._is_told = False
        if found is not None:
            self._current.swap(found, self._observers)


def as_update(told: Any) -> Update | None:
    """What an element of a side input says: a ModelMetadata, ours or Beam's, or an Update."""
    if told is None or isinstance(told, Update):
        return told
    path = getattr(told, "model_id", None)
    return Update(str(path), None) if path else None
