"""The step that runs in a worker: elements in, batch, models, results out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import apache_beam as beam

from runinference.batch import Positions, RowBatch, TableBatch
from runinference.config import BatchConfig
from runinference.hooks import Observers
from runinference.metrics import BeamMetrics
from runinference.model import Predictions
from runinference.router import Router
from runinference.solve import Limits, solve

__all__ = ["Edge", "InferenceDoFn", "Part"]


class Part(NamedTuple):
    """The predictions of one model for some positions of a batch."""

    positions: Positions
    predictions: Predictions
    model_id: str | None


BatchT = TypeVar("BatchT", RowBatch, TableBatch)


class Edge(Protocol[BatchT]):
    """Between elements of a PCollection and batches; all that tells rows and tables apart."""

    def open(self, element: Any) -> tuple[BatchT, Sequence[Any] | None]:
        """The batch of an element, and the key of each example where there are keys."""

    def emit(
        self,
        element: Any,
        batch: BatchT,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        windows: Sequence[Any],
    ) -> Iterable[Any]:
        """The elements that go out, windowed where the edge keeps time itself."""


class InferenceDoFn(beam.DoFn):
    """Predicts each element's examples with the models that the router chooses."""

    def __init__(
        self,
        edge: Edge[Any],
        router: Router,
        inference_args: dict[str, Any] | None,
        metrics_namespace: str | None,
    ) -> None:
        self._edge = edge
        self._router = router
        self._inference_args = inference_args
        self._metrics_namespace = metrics_namespace

    def setup(self) -> None:
        """Load the model, or take the one that this process has."""
        namespace = self._metrics_namespace
        self._metrics = None if namespace is None else BeamMetrics(namespace)
        self._observers = Observers([] if self._metrics is None else [self._metrics])
        self._limits: dict[BatchConfig, Limits] = {}
        self._router.open(self._observers)

    def process(self, element: Any, windowed: Any = beam.DoFn.WindowedValueParam) -> Iterable[Any]:
        """Predict one element."""
        batch, keys = self._edge.open(element)
        parts = []
        if len(batch):
            for version, positions in self._router.split(keys, len(batch)):
                limits = self._limits_of(version.batching)
                with self._router.lease(version, self._observers) as model:
                    for own, predictions in solve(
                        batch.take(positions), model, limits, self._inference_args, self._observers
                    ):
                        where = own if positions == range(len(batch)) else _pick(positions, own)
                        parts.append(Part(where, predictions, model.model_id))
        return self._edge.emit(element, batch, keys, parts, windowed.windows)

    def finish_bundle(self) -> None:
        """Report what happened outside of a batch."""
        if self._metrics is not None:
            self._metrics.flush()

    def teardown(self) -> None:
        """Let go of the models."""
        if hasattr(self, "_observers"):  # a setup that failed is torn down too
            self._router.close(self._observers)

    def _limits_of(self, config: BatchConfig) -> Limits:
        limits = self._limits.get(config)
        if limits is None:
            limits = self._limits[config] = Limits(config)
        return limits


def _pick(positions: Positions, own: Positions) -> list[int]:
    return [positions[position] for position in own]
