"""One model per process: loaded once, however many threads and steps ask, closed at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runinference.description import handler_name
from runinference.errors import ConfigurationError
from runinference.handler import RUN_FIELDS, Handler
from runinference.hooks import ModelClosed, ModelLoaded, Observers
from runinference.memory import LongLived, resident_bytes
from runinference.model import LoadedModel, LocalModel, ModelVersion

__all__ = ["Loader", "fingerprint", "process_loader"]


@dataclasses.dataclass
class _Entry:
    """One version: loading until ``ready`` is set, then loaded or failed."""

    ready: threading.Event = dataclasses.field(default_factory=threading.Event)
    model: LoadedModel | None = None
    error: BaseException | None = None
    leases: int = 0
    holders: int = 0


class Loader:
    """Models of this process, each loaded once and shared by every thread.

    A model stays as long as somebody holds it (a step that is set up) or leases it (a batch that is
    being predicted). With a bound, a model that nobody leases makes room for a new one, the least
    recently used first; where all are leased, the new one waits.

    Args:
        max_models: how many models may be loaded at a time; no bound where None.
        load: how a version becomes a model.
        clock: seconds, for the duration of a load.
    """

    def __init__(
        self,
        max_models: int | None = None,
        load: Callable[[ModelVersion], LoadedModel] = LocalModel,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._max_models = max_models
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
            memory = resident_bytes()
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
        grown = max(resident_bytes() - memory, 0)
        observers.model_loaded(ModelLoaded(model.name, model.model_id, seconds, grown))

    def _leave(self, version: ModelVersion, entry: _Entry, observers: Observers) -> None:
        with self._changed:
            entry.leases -= 1
            unused = self._take_unused()
            self._changed.notify_all()
        self._close(unused, observers)

    def _make_room(self) -> list[LoadedModel] | None:
        """The models to close before one more is loaded; None where all are in use."""
        if self._max_models is None or len(self._entries) < self._max_models:
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
"""The loader that every step of this process shares."""


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
