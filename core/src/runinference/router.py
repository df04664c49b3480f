"""Which model predicts which examples of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from runinference.batch import Positions
from runinference.hooks import Observers
from runinference.model import LoadedModel
from runinference.updates import Current, Polling, as_update
from runinference.versions import ModelVersion

__all__ = ["Router", "SingleModelRouter"]


class Router(Protocol):
    """Models of one step, opened in each worker."""

    isolates_loads: bool
    """Whether examples whose model cannot be loaded fail, and not the step."""

    def open(self, observers: Observers) -> None:
        """Load what can be loaded before the first batch; raises what a load raises."""

    def close(self, observers: Observers) -> None:
        """Let go of every model."""

    def update(self, told: Any, observers: Observers) -> None:
        """Take up what a side input says of the models; one that cannot be used changes nothing."""

    def split(
        self, keys: Sequence[Any] | None, size: int
    ) -> Iterator[tuple[ModelVersion | Exception, Positions]]:
        """Each version with the positions that it predicts, or the reason why none does; together
        every position once."""

    def lease(
        self, version: ModelVersion, observers: Observers
    ) -> AbstractContextManager[LoadedModel]:
        """The loaded model, which stays loaded within the block."""


class SingleModelRouter:
    """One model predicts everything; if the first one cannot be loaded, nothing can be predicted.

    Args:
        version: the model to begin with.
        step: names the step, all of whose copies in a process change their model together.
        polling: where to look for other models, if anywhere.
    """

    isolates_loads = False

    def __init__(self, version: ModelVersion, step: str, polling: Polling | None = None) -> None:
        self._version = version
        self._step = step
        self._polling = polling

    def open(self, observers: Observers) -> None:
        """See :class:`Router`."""
        self._current = Current.attach(self._step, self._version, self._polling, observers)

    def close(self, observers: Observers) -> None:
        """See :class:`Router`."""
        current = self.__dict__.pop("_current", None)
        if current is not None:  # a load that failed has been let go
            current.detach(self._step, observers)

    def update(self, told: Any, observers: Observers) -> None:
        """See :class:`Router`."""
        update = as_update(told)
        if update is not None:
            self._current.swap(update, observers)

    def split(
        self, keys: Sequence[Any] | None, size: int
    ) -> Iterator[tuple[ModelVersion | Exception, Positions]]:
        """See :class:`Router`."""
        yield self._version, range(size)

    def lease(
        self, version: ModelVersion, observers: Observers
    ) -> AbstractContextManager[LoadedModel]:
        """See :class:`Router`; the model that is current now, whichever version it is."""
        return self._current.lease(observers)
