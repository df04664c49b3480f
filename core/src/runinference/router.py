"""Which model predicts which examples of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from runinference.batch import Positions
from runinference.hooks import Observers
from runinference.loader import process_loader
from runinference.model import LoadedModel, ModelVersion

__all__ = ["Router", "SingleModelRouter"]


class Router(Protocol):
    """Models of one step, opened in each worker."""

    def open(self, observers: Observers) -> None:
        """Load what can be loaded before the first batch; raises what a load raises."""

    def close(self, observers: Observers) -> None:
        """Let go of every model."""

    def split(
        self, keys: Sequence[Any] | None, size: int
    ) -> Iterator[tuple[ModelVersion, Positions]]:
        """Each version with the positions that it predicts; together every position once."""

    def lease(
        self, version: ModelVersion, observers: Observers
    ) -> AbstractContextManager[LoadedModel]:
        """The loaded model, which stays loaded within the block."""


class SingleModelRouter:
    """One model predicts everything."""

    def __init__(self, version: ModelVersion) -> None:
        self._version = version

    def open(self, observers: Observers) -> None:
        """See :class:`Router`."""
        process_loader.hold(self._version)
        try:
            with process_loader.lease(self._version, observers):
                pass
        except BaseException:
            process_loader.release(self._version, observers)
            raise

    def close(self, observers: Observers) -> None:
        """See :class:`Router`."""
        process_loader.release(self._version, observers)

    def split(
        self, keys: Sequence[Any] | None, size: int
    ) -> Iterator[tuple[ModelVersion, Positions]]:
        """See :class:`Router`."""
        yield self._version, range(size)

    def lease(
        self, version: ModelVersion, observers: Observers
    ) -> AbstractContextManager[LoadedModel]:
        """See :class:`Router`."""
        return process_loader.lease(version, observers)
