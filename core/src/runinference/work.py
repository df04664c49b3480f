"""What a step has to do in a worker, and what tells rows and tables apart there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from runinference.batch import Positions, RowBatch, TableBatch
from runinference.failures import Failed, FailurePolicy
from runinference.gathering import Elements, Gather
from runinference.model import Predictions
from runinference.router import Router

__all__ = ["Edge", "Part", "Work"]


class Part(NamedTuple):
    """The predictions of one model for some positions of a batch."""

    positions: Positions
    predictions: Predictions
    model_id: str | None


BatchT = TypeVar("BatchT", RowBatch, TableBatch)


class Edge(Protocol[BatchT]):
    """Between elements of a PCollection and batches; all that tells rows and tables apart."""

    def open(self, elements: Elements) -> tuple[BatchT, Sequence[Any] | None]:
        """The batch of elements, and the key of each example where there are keys."""

    def emit(
        self,
        elements: Elements,
        batch: BatchT,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        failures: Sequence[Failed],
    ) -> Iterable[Any]:
        """What goes out, each at the time and in the window of its element; failed examples under
        the tag ``FAILED``."""

    def locate(self, elements: Elements, position: int) -> str:
        """Names an example of the elements for a reader."""

    def sizes(self, elements: Elements) -> Iterable[int]:
        """How many examples each element has."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a worker has to do.

    Attributes:
        gather: decides which elements come together.
        edge: between elements and batches.
        router: chooses the models.
        inference_args: extra arguments of every call of a model.
        metrics_namespace: of Beam's metrics; none are reported where None.
        policy: which errors fail examples rather than the bundle.
        in_flight: how many calls are made at a time.
    """

    gather: Gather
    edge: Edge[Any]
    router: Router
    inference_args: dict[str, Any] | None
    metrics_namespace: str | None
    policy: FailurePolicy
    in_flight: int = 1
