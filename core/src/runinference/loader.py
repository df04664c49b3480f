"""One model per process: loaded once, however many threads and steps ask, closed at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runinference.description import handler_name
from runinference.errors import ConfigurationError
from runinference.handler import RUN_FIELDS, Handler
from runinference.hooks import ModelClosed, ModelLoaded, Observers
from runinference.memory import LongLived
from runinference.model import LoadedModel, LocalModel
from runinference.process import ProcessModel
from runinference.threads import processors
from runinference.versions import ModelVersion

__all__ = ["Loader", "fingerprint", "keyed_loader", "load_model", "process_loader", "run_of"]


def load_model(version: ModelVersion) -> LoadedModel:
    """The model, in this process or in one of its own, as its execution says.

    Raises:
        Exception: whatever the handler's ``load_model``, the warm-up or the validation raises.
        ModelLoadError: a process of its own that ended, or took too long.
    """
    copies = version.execution.copies or _copies_of(version.handler)
    threads = version.execution.threads
    if threads is None and copies is not None and copies > 1:
        threads = max(processors() // copies, 1)
    execution = dataclasses.replace(version.execution, copies=copies, threads=threads)
    if not execution.is_apart:
        return LocalModel(version)
    return ProcessModel(dataclasses.replace(version, execution=execution))


def _copies_of(handler: Handler) -> int | None:
    """How many copies a handler wants its workers to share; None for a model in each of them."""
    shares = getattr(handler, "share_model_across_processes", None)
    if shares is None or not shares():
        return None
    copies = getattr(handler, "model_copies", None)
    return 1 if copies is None else int(copies())


@dataclasses.dataclass
class _Entry:
    """One version: loading until ``ready`` is set, then loaded or failed."""

    ready: threading.Event = dataclasses.field(default_factory=threading.Event)
    model: LoadedModel | None = None
    error: BaseException | None = None
    leases: int = 0


class Loader:
    """Models of this process, each loaded once and shared by every thread.

    A model stays as long as somebody holds it (a step that is set up) or leases it (a batch that is
    being predicted). With a bound, a model that nobody leases makes room for a new one, the least
    recently used first; where all are leased, the new one waits.

    Args:
        load: how a version becomes a model.
        clock: seconds, for the duration of a load.
    """

    def __init__(
        self,
        load: Callable[[ModelVersion], LoadedModel] = load_model,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._bounds: list[int] = []
        self._load = load
        self._clock = clock
        self._entries: OrderedDict[ModelVersion, _Entry] = OrderedDict()
        self._holders: dict[ModelVersion, int] = {}
        self._changed = threading.Condition()
        self._long_lived = LongLived()

    @contextmanager
    def lease(self, version: ModelVersion, observers: Observers) -> Iterator[LoadedModel]:
        """The loaded model, which stays loaded within the block.

        Raises:
            BaseException: what the load raised, the same for everybody who waited for it; the next
                call tries again.
        """
        entry, is_mine = self._enter(version, observers)
        try:
            if is_mine:
                self._fill(version, entry, observers)
            entry.ready.wait()
            if entry.model is None:
                assert entry.error is not None
                raise entry.error
            yield entry.model
        finally:
            self._leave(version, entry, observers)

    def bound(self, models: int | None) -> None:
        """Load at most so many models at a time, until :meth:`unbound`; the smallest holds."""
        if models is not None:
            with self._changed:
                self._bounds.append(models)

    def unbound(self, models: int | None) -> None:
        """Undo one :meth:`bound`."""
        if models is not None:
            with self._changed:
                self._bounds.remove(models)
                self._changed.notify_all()

    def has(self, version: ModelVersion) -> bool:
        """Whether it is loaded, or being loaded."""
        with self._changed:
            return version in self._entries

    def hold(self, version: ModelVersion) -> None:
        """Keep the model between leases, until :meth:`release`."""
        with self._changed:
            self._holders[version] = self._holders.get(version, 0) + 1

    def release(self, version: ModelVersion, observers: Observers) -> None:
        """Undo one :meth:`hold`; the last one closes the model, once nobody leases it."""
        with self._changed:
            self._holders[version] -= 1
            if not self._holders[version]:
                del self._holders[version]
            unused = self._take_unused()
        self._close(unused, observers)

    def wait_for_unused(self) -> None:
        """Wait until each model that nobody holds any more has been predicted with for the last
        time, and is closed; not to be called within a lease."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(version in self._holders for version in self._entries)
            )

    def _enter(self, version: ModelVersion, observers: Observers) -> tuple[_Entry, bool]:
        while True:
            with self._changed:
                entry = self._entries.get(version)
                is_mine = entry is None
                if entry is None:
                    evicted = self._make_room()
                    if evicted is None:
                        self._changed.wait()
                        continue
                    entry = self._entries[version] = _Entry()
                else:
                    evicted = []
                entry.leases += 1
                self._entries.move_to_end(version)
            self._close(evicted, observers)
            return entry, is_mine

    def _fill(self, version: ModelVersion, entry: _Entry, observers: Observers) -> None:
        try:
            start = self._clock()
            model = self._load(version)
            seconds = self._clock() - start
            self._long_lived.freeze()
            entry.model = model
        except BaseException as error:
            entry.error = error
            with self._changed:
                del self._entries[version]
            raise
        finally:
            entry.ready.set()
        observers.model_loaded(
            ModelLoaded(model.name, model.model_id, seconds, model.byte_size, model.sha256)
        )

    def _leave(self, version: ModelVersion, entry: _Entry, observers: Observers) -> None:
        with self._changed:
            entry.leases -= 1
            unused = self._take_unused()
            self._changed.notify_all()
        self._close(unused, observers)

    def _make_room(self) -> list[LoadedModel] | None:
        """The models to close before one more is loaded; None where all are in use."""
        if not self._bounds or len(self._entries) < min(self._bounds):
            return []
        for version, entry in self._entries.items():
            if not entry.leases and entry.model is not None:
                del self._entries[version]
                return [entry.model]
        return None

    def _take_unused(self) -> list[LoadedModel]:
        unused = [
            version
            for version, entry in self._entries.items()
            if not entry.leases and version not in self._holders and entry.model is not None
        ]
        taken = [self._entries.pop(version).model for version in unused]
        self._changed.notify_all()
        return [model for model in taken if model is not None]

    def _close(self, models: list[LoadedModel], observers: Observers) -> None:
        for model in models:
            self._long_lived.thaw()  # or cycles of the model would stay
            model.close()
            observers.model_closed(ModelClosed(model.name, model.model_id))


process_loader = Loader()
"""Loads the models of steps with one model; every step of this process shares it."""

keyed_loader = Loader()
"""Loads the models of steps with a model per key, which are bounded together."""


def fingerprint(handler: Handler) -> str:
    """Equal for handlers that load the same model: same class, equal state, whatever is said of how
    to run it; 64 hexadecimal digits.

    Raises:
        ConfigurationError: an attribute that cannot be pickled, and so not be sent to a worker.
    """
    from apache_beam.internal import pickler  # the pickler that will carry the handler

    # Asked before the class is pickled: the first question leaves a cached __slotnames__ in it.
    state = handler.__getstate__()
    kind = type(handler)
    digest = hashlib.sha256(f"{kind.__module__}:{kind.__qualname__}".encode())
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        digest.update(pickler.dumps(kind))  # the name alone does not tell such classes apart
    attributes = state if isinstance(state, dict) else {"state": state}
    for name in sorted(attributes):
        if name in RUN_FIELDS:
            continue
        try:
            value = pickler.dumps(attributes[name])
        except Exception as error:
            raise ConfigurationError(
                f"{handler_name(handler)}.{name} cannot be pickled, and so not be sent to a "
                f"worker: {error}. Create it in load_model(), or leave it out in __getstate__()"
            ) from error
        digest.update(f"{name}={len(value)}:".encode() + value)
    return digest.hexdigest()


_runs: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()


def run_of(pipeline: object) -> str:
    """A name for what is run together, the same for each step of a pipeline."""
    return _runs.setdefault(pipeline, uuid.uuid4().hex)
