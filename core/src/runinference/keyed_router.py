"""A model per key: groups a batch by model, and keeps no more models than it may."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np

from runinference.batch import CodedKeys, Positions
from runinference.batching import check_tokens
from runinference.config import BatchConfig, Execution
from runinference.description import describe, handler_name
from runinference.errors import ConfigurationError, UnknownKeyError
from runinference.handler import Handler
from runinference.hints import listed
from runinference.hooks import ModelRefused, Observers
from runinference.keyed import ModelsByKey
from runinference.loader import fingerprint, keyed_loader
from runinference.model import LoadedModel, ModelVersion

__all__ = ["KeyedRouter", "VersionOf"]

GroupT = TypeVar("GroupT", bound=tuple[Any, ...])

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


class KeyedRouter:
    """Chooses each example's model by its key.

    Models are loaded when they are first asked, and held until the worker ends or, where a bound
    is told, until another needs the place. One that cannot be loaded is not tried for every batch.

    Args:
        models: as declared.
        version_of: from a handler to what is loaded.
        clock: seconds.
    """

    def __init__(
        self,
        models: ModelsByKey,
        version_of: VersionOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._version_of = version_of
        self._clock = clock
        self._versions: dict[Hashable, ModelVersion] = {}
        for mapping in models.mappings:
            version = version_of(mapping.handler, mapping.keys[0])
            self._versions.update(dict.fromkeys(mapping.keys, version))
        default = models.default
        self._default = None if default is None else version_of(default, "default")

    isolates_loads = True

    def open(self, observers: Observers) -> None:
        """See :class:`runinference.router.Router`; models wait for their first example."""
        self._held: set[ModelVersion] = set()
        self._refused: dict[ModelVersion, tuple[Exception, float, float]] = {}
        self._told: Any = None
        keyed_loader.bound(self._models.max_models)

    def close(self, observers: Observers) -> None:
        """See :class:`runinference.router.Router`."""
        for version in self._held:
            keyed_loader.release(version, observers)
        self._held = set()
        keyed_loader.unbound(self._models.max_models)

    def update(self, told: Any, observers: Observers) -> None:
        """See :class:`runinference.router.Router`: a list of KeyModelPathMapping.

        Raises:
            ConfigurationError: something else.
        """
        if told == self._told:
            return
        for mapping in told if isinstance(told, list | tuple) else [told]:
            if not hasattr(mapping, "update_path"):
                raise ConfigurationError(
                    "a step with a model per key is told of other models by lists of "
                    f"KeyModelPathMapping, but was told {mapping!r:.100}"
                )
            self._update(list(mapping.keys), str(mapping.update_path), observers)
        self._told = told

    def _update(self, keys: list[Any], path: str, observers: Observers) -> None:
        """Let these keys, which have one model, have another one; all of them or none."""
        version = dataclasses.replace(self._of(keys[0]), path=path)
        self._refused.pop(version, None)
        try:
            with self.lease(version, observers):
                pass
        except Exception as error:  # noqa: BLE001 - whatever a load, a warm-up or a check raises
            _log.warning("model %s is refused, the old one stays: %s", path, error)
            observers.model_refused(ModelRefused(path, error))
            return
        before = {self._of(key) for key in keys} - {version}
        self._versions.update(dict.fromkeys(keys, version))
        for unused in before.difference(self._versions.values(), {self._default}):
            if unused in self._held:
                self._held.remove(unused)
                keyed_loader.release(unused, observers)

    def split(
        self, keys: Sequence[Any] | None, size: int
    ) -> Iterator[tuple[ModelVersion | Exception, Positions]]:
        """See :class:`runinference.router.Router`."""
        assert keys is not None
        if isinstance(keys, CodedKeys):
            yield from self._split_coded(keys)
            return
        groups: dict[int, tuple[ModelVersion, list[int]]] = {}
        unknown: dict[int, Exception] = {}
        for position, key in enumerate(keys):
            try:
                version = self._of(key)
            except UnknownKeyError as error:
                unknown[position] = error
                continue
            groups.setdefault(id(version), (version, []))[1].append(position)
        yield from self._loaded_first(groups.values())
        for position, reason in unknown.items():
            yield reason, [position]

    def _split_coded(self, keys: CodedKeys) -> Iterator[tuple[ModelVersion | Exception, Positions]]:
        found: list[ModelVersion | Exception] = []
        group_of_code = np.empty(len(keys.values), dtype=np.int64)
        number: dict[int, int] = {}
        for code, key in enumerate(keys.values):
            try:
                chosen: ModelVersion | Exception = self._of(key)
            except UnknownKeyError as error:
                chosen = error
            if id(chosen) not in number:
                number[id(chosen)] = len(found)
                found.append(chosen)
            group_of_code[code] = number[id(chosen)]
        groups = group_of_code[keys.codes]
        for chosen, which in self._loaded_first(zip(found, range(len(found)), strict=True)):
            positions = np.flatnonzero(groups == which).tolist()
            if len(positions) == len(keys):
                yield chosen, range(len(keys))
            elif positions:
                yield chosen, positions

    def _loaded_first(self, groups: Iterable[GroupT]) -> list[GroupT]:
        """In another order, so that under a bound no model is evicted that the batch still needs
        and that was there; in the order of their keys, each would be when its turn comes."""
        if self._models.max_models is None:
            return list(groups)
        return sorted(groups, key=lambda group: not keyed_loader.has(group[0]))

    @contextmanager
    def lease(self, version: ModelVersion, observers: Observers) -> Iterator[LoadedModel]:
        """See :class:`runinference.router.Router`; fails at once for a while after it failed."""
        refusal, wait, until = self._refused.get(version, (None, 0.0, 0.0))
        if refusal is not None and self._clock() < until:
            raise refusal
        if version not in self._held:
            keyed_loader.hold(version)
            self._held.add(version)
        with ExitStack() as stack:
            try:
                model = stack.enter_context(keyed_loader.lease(version, observers))
            except Exception as refused:
                wait = min(wait * 2 or _FIRST_BACK_OFF, _LONGEST_BACK_OFF)
                self._refused[version] = refused, wait, self._clock() + wait
                raise
            self._refused.pop(version, None)
            yield model

    def _of(self, key: Any) -> ModelVersion:
        try:
            version = self._versions.get(key)
        except TypeError as error:
            raise UnknownKeyError(
                f"key {key!r:.100} is not hashable, as a key has to be"
            ) from error
        if version is None:
            version = self._versions[key] = self._made(key)
        return version

    def _made(self, key: Any) -> ModelVersion:
        models_for = self._models.models_for
        if models_for is not None:
            try:
                handler = models_for(key)
            except LookupError:
                handler = None
            if handler is not None:
                _check_made(handler, key)
                return self._version_of(handler, key)
        if self._default is not None:
            return self._default
        known = [str(key) for mapping in self._models.mappings for key in mapping.keys]
        having = f"there are {listed(known)}" if known else "models_for() has none for it"
        raise UnknownKeyError(
            f"no model for key {key!r:.100}; {having}. KeyedModelHandler(..., default=handler) "
            "takes the keys that have none"
        )


def _check_made(handler: Any, key: Any) -> None:
    for method in ("get_preprocess_fns", "get_postprocess_fns"):
        if getattr(handler, method, tuple)():
            raise ConfigurationError(
                f"models_for({key!r:.100}) made {handler_name(handler)} with preprocess or "
                "postprocess functions, which are steps of the pipeline: add them to the "
                "KeyedModelHandler"
            )
