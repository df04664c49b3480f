"""Which model each key has: the same for all threads of a process, and changed for all at once."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, TypeAlias

from runinference.batching import check_tokens
from runinference.config import BatchConfig, Execution
from runinference.copies import Copies
from runinference.description import describe, handler_name
from runinference.errors import ConfigurationError, UnknownKeyError
from runinference.handler import Handler
from runinference.hints import listed
from runinference.hooks import ModelRefused, Observers
from runinference.keyed import ModelsByKey
from runinference.loader import fingerprint, keyed_loader
from runinference.model import LoadedModel
from runinference.model_files import Refusals, Update, stamp_of
from runinference.versions import ModelVersion

__all__ = ["KeyedModels", "VersionOf", "Versions"]

Versions: TypeAlias = dict[Hashable, ModelVersion]

_log = logging.getLogger(__name__)

# Seconds until a model that could not be loaded is tried again; doubled each time.
_FIRST_BACK_OFF = 10.0
_LONGEST_BACK_OFF = 600.0


@dataclasses.dataclass(frozen=True)
class VersionOf:
    """From a handler to what is loaded.

    Attributes:
        batching: what was told to the step, over what each handler says.
        execution: how the models run.
        run: names the run of the pipeline.
    """

    batching: BatchConfig
    execution: Execution
    run: str = ""

    def __call__(self, handler: Handler, key: object) -> ModelVersion:
        """The version of a handler, whose metrics are named by a key."""
        # how examples are gathered, the step decides for all models together
        told = dataclasses.replace(self.batching, min_size=None, max_wait_s=None)
        own = dataclasses.replace(describe(handler).batching, min_size=None, max_wait_s=None)
        batching = told.over(own)
        check_tokens(batching, handler)
        return ModelVersion(
            handler,
            fingerprint(handler),
            execution=self.execution,
            batching=batching,
            metrics_prefix=str(key),
            run=self.run,
        )


class KeyedModels:
    """The models of a step's keys.

    Made when the pipeline is built. In a worker each copy of the step attaches itself and gets the
    object of the first one. Models are loaded when they are first asked, and held until the last
    copy detaches or, where a bound is told, until another needs the place.

    Args:
        models: as declared.
        version_of: from a handler to what is loaded.
        clock: seconds.

    Attributes:
        versions: of the keys that are known by now; another dict once a model has changed.
    """

    _lock = threading.RLock()
    _copies: ClassVar[Copies[KeyedModels]]

    def __init__(
        self,
        models: ModelsByKey,
        version_of: VersionOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_bounded = models.max_models is not None
        self._models = models
        self._version_of = version_of
        self._clock = clock
        self.versions: Versions = {}
        for mapping in models.mappings:
            version = version_of(mapping.handler, mapping.keys[0])
            self.versions.update(dict.fromkeys(mapping.keys, version))
        default = models.default
        self._default = None if default is None else version_of(default, "default")

    def attach(self, step: str) -> KeyedModels:
        """The one that all copies of the step in this process share; to be detached."""
        return self._copies.enter(step, self._opened)

    def _opened(self) -> KeyedModels:
        self._held: set[ModelVersion] = set()
        self._hold(self.versions.values())
        if self._default is not None:
            self._hold([self._default])
        self._failed: dict[ModelVersion, tuple[Exception, float, float]] = {}
        self._refusals = Refusals(self._clock)
        self._told: Any = None
        self._updating = threading.Lock()
        keyed_loader.bound(self._models.max_models)
        return self

    def detach(self, step: str, observers: Observers) -> None:
        """Undo one :meth:`attach`; after the last one, the models are closed."""
        self._copies.leave(step, observers)

    def _end(self, observers: Observers) -> None:
        self._release(self._held, observers)
        keyed_loader.unbound(self._models.max_models)

    def of(self, key: Any, versions: Versions) -> ModelVersion:
        """The version for a key, among those that were known when a batch began.

        Raises:
            UnknownKeyError: there is none, or the key cannot be looked up.
            ConfigurationError: ``models_for`` made a handler that cannot be used here.
        """
        try:
            version = versions.get(key)
        except TypeError as error:
            raise UnknownKeyError(
                f"key {key!r:.100} is not hashable, as a key has to be"
            ) from error
        if version is None:
            version = versions[key] = self._made(key)
        return version

    @contextmanager
    def lease(self, version: ModelVersion, observers: Observers) -> Iterator[LoadedModel]:
        """The loaded model, which stays loaded within the block; fails at once for a while after
        it failed.

        Raises:
            Exception: what the load raised.
        """
        error, wait, until = self._failed.get(version, (None, 0.0, 0.0))
        if error is not None and self._clock() < until:
            raise error
        with ExitStack() as stack:
            try:
                model = stack.enter_context(keyed_loader.lease(version, observers))
            except Exception as failed:
                wait = min(wait * 2 or _FIRST_BACK_OFF, _LONGEST_BACK_OFF)
                self._failed[version] = failed, wait, self._clock() + wait
                raise
            self._failed.pop(version, None)
            yield model

    def keep(self, versions: Versions, chosen: Sequence[ModelVersion]) -> bool:
        """Keep what a batch chose until :meth:`let_go`; False where models changed meanwhile."""
        with self._lock:
            if self.versions is not versions:
                return False
            for version in chosen:
                keyed_loader.hold(version)
            return True

    def let_go(self, chosen: Iterable[ModelVersion], observers: Observers) -> None:
        """Undo one :meth:`keep`."""
        self._release(chosen, observers)

    def update(self, told: Any, observers: Observers) -> None:
        """Take up a list of KeyModelPathMapping: load, warm up and validate each model, and only
        then predict with it. One that fails is reported, and leaves the old one in place. Nothing
        is done where another thread is at it.

        Raises:
            ConfigurationError: something else was told.
        """
        if told == self._told or not self._updating.acquire(blocking=False):
            return
        try:
            mappings = told if isinstance(told, list | tuple) else [told]
            for mapping in mappings:
                if not hasattr(mapping, "update_path"):
                    raise ConfigurationError(
                        "a step with a model per key is told of other models by lists of "
                        f"KeyModelPathMapping, but was told {mapping!r:.100}"
                    )
            done = [self._update(list(m.keys), str(m.update_path), observers) for m in mappings]
            if all(done):  # what was refused is looked at again
                self._told = told
        finally:
            self._updating.release()

    def _update(self, keys: list[Any], path: str, observers: Observers) -> bool:
        """Let these keys, which have one model, have another one; all of them or none."""
        if self._refusals.has(Update(path, None), tuple(keys)):
            return False
        stamp = stamp_of(path)
        try:
            before = [self.of(key, self.versions) for key in keys]
            version = dataclasses.replace(before[0], path=path)
            if {version} == set(before):
                return True
            if len({one.fingerprint for one in before}) > 1:
                raise ConfigurationError(
                    f"keys {listed(keys)} have different models: tell a KeyModelPathMapping of each"
                )
            keyed_loader.hold(version)
            try:
                with keyed_loader.lease(version, observers):
                    pass
            except BaseException:
                keyed_loader.release(version, observers)
                raise
        except Exception as error:  # noqa: BLE001 - whatever a load, a warm-up or a check raises
            self._refusals.add(path, stamp, tuple(keys))
            _log.warning("model %s is refused, the old one stays: %s", path, error)
            observers.model_refused(ModelRefused(path, error))
            return False
        with self._lock:
            self._hold([version])
            self._failed.pop(version, None)
            self.versions = {**self.versions, **dict.fromkeys(keys, version)}
            unused = set(before).difference(self.versions.values(), {self._default})
            self._held -= unused
        self._release([version, *unused], observers)
        return True

    def _hold(self, versions: Iterable[ModelVersion]) -> None:
        for version in set(versions) - self._held:
            keyed_loader.hold(version)
            self._held.add(version)

    def _release(self, versions: Iterable[ModelVersion], observers: Observers) -> None:
        for version in versions:
            keyed_loader.release(version, observers)

    def _made(self, key: Any) -> ModelVersion:
        with self._lock:
            known = self.versions.get(key)
        if known is not None:  # by another thread
            return known
        models_for = self._models.models_for
        if models_for is not None:
            try:
                handler = models_for(key)
            except LookupError:
                handler = None
            if handler is not None:
                _check_made(handler, key)
                version = self._version_of(handler, key)
                with self._lock:
                    version = self.versions.setdefault(key, version)
                    self._hold([version])
                return version
        if self._default is not None:
            return self._default
        known_keys = [str(key) for mapping in self._models.mappings for key in mapping.keys]
        having = f"there are {listed(known_keys)}" if known_keys else "models_for() has none for it"
        raise UnknownKeyError(
            f"no model for key {key!r:.100}; {having}. KeyedModelHandler(..., default=handler) "
            "takes the keys that have none"
        )


KeyedModels._copies = Copies(KeyedModels._end)


def _check_made(handler: Any, key: Any) -> None:
    for method in ("get_preprocess_fns", "get_postprocess_fns"):
        if getattr(handler, method, tuple)():
            raise ConfigurationError(
                f"models_for({key!r:.100}) made {handler_name(handler)} with preprocess or "
                "postprocess functions, which are steps of the pipeline: add them to the "
                "KeyedModelHandler"
            )
