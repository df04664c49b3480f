"""A model per key: groups a batch by model, the loaded ones first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

import numpy as np

from runinference.batch import CodedKeys, Positions
from runinference.errors import UnknownKeyError
from runinference.hooks import Observers
from runinference.keyed_models import KeyedModels, Versions
from runinference.loader import keyed_loader
from runinference.model import LoadedModel
from runinference.versions import ModelVersion

__all__ = ["KeyedRouter"]

Group: TypeAlias = "tuple[ModelVersion | Exception, Positions]"
GroupT = TypeVar("GroupT", bound=tuple[Any, ...])


class KeyedRouter:
    """Chooses each example's model by its key.

    Args:
        models: of the keys.
        step: names the step, all of whose copies in a process change their models together.
        may_change: whether they change at all.
    """

    def __init__(self, models: KeyedModels, step: str, *, may_change: bool) -> None:
        self._declared = models
        self._step = step
        self._may_change = may_change

    isolates_loads = True

    def open(self, observers: Observers) -> None:
        """See :class:`runinference.router.Router`; models wait for their first example."""
        self._models = self._declared.attach(self._step)
        self._observers = observers

    def close(self, observers: Observers) -> None:
        """See :class:`runinference.router.Router`."""
        models = self.__dict__.pop("_models", None)
        if models is not None:
            models.detach(self._step, observers)

    def update(self, told: Any, observers: Observers) -> None:
        """See :class:`runinference.router.Router`: a list of KeyModelPathMapping.

        Raises:
            ConfigurationError: something else.
        """
        self._models.update(told, observers)

    def lease(
        self, version: ModelVersion, observers: Observers
    ) -> AbstractContextManager[LoadedModel]:
        """See :class:`runinference.router.Router`; fails at once for a while after it failed."""
        return self._models.lease(version, observers)

    def split(self, keys: Sequence[Any] | None, size: int) -> Iterator[Group]:
        """See :class:`runinference.router.Router`."""
        assert keys is not None
        if not self._may_change:
            yield from self._grouped(keys, self._models.versions)
            return
        while True:
            versions = self._models.versions
            groups = list(self._grouped(keys, versions))
            chosen = [version for version, _ in groups if isinstance(version, ModelVersion)]
            if self._models.keep(versions, chosen):
                break
        try:
            yield from groups
        finally:
            self._models.let_go(chosen, self._observers)

    def _grouped(self, keys: Sequence[Any], versions: Versions) -> Iterator[Group]:
        if isinstance(keys, CodedKeys):
            yield from self._grouped_by_code(keys, versions)
            return
        groups: dict[int, tuple[ModelVersion, list[int]]] = {}
        unknown: dict[int, Exception] = {}
        for position, key in enumerate(keys):
            try:
                version = self._models.of(key, versions)
            except UnknownKeyError as error:
                unknown[position] = error
                continue
            groups.setdefault(id(version), (version, []))[1].append(position)
        yield from self._loaded_first(groups.values())
        for position, reason in unknown.items():
            yield reason, [position]

    def _grouped_by_code(self, keys: CodedKeys, versions: Versions) -> Iterator[Group]:
        found: list[ModelVersion | Exception] = []
        group_of_code = np.empty(len(keys.values), dtype=np.int64)
        number: dict[int, int] = {}
        for code, key in enumerate(keys.values):
            try:
                chosen: ModelVersion | Exception = self._models.of(key, versions)
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
        if not self._models.is_bounded:
            return list(groups)
        return sorted(groups, key=lambda group: not keyed_loader.has(group[0]))
