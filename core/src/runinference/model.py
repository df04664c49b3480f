"""A handler together with its model: the only place that calls a handler's inference methods."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, cast

import pyarrow as pa

from runinference.batch import Batch, RowBatch, TableBatch
from runinference.columns import examples_of, numeric_columns, select_features
from runinference.config import BatchConfig, Execution
from runinference.description import handler_name
from runinference.errors import ExampleFailedError, FeatureError, PredictionCountError
from runinference.handler import Handler, VectorModelHandler
from runinference.hints import listed
from runinference.outputs import read_predictions
from runinference.rendering import columns_of_rows
from runinference.results import ExampleFailed
from runinference.sizes import num_bytes

__all__ = ["LoadedModel", "LocalModel", "ModelVersion", "Predictions"]

Predictions: TypeAlias = "list[Any] | pa.Table"
"""One prediction per example of a RowBatch, or the prediction columns of a TableBatch."""


@dataclasses.dataclass(frozen=True, eq=False)
class ModelVersion:
    """What to load, and how to run it. Two are equal if they load the same model.

    Attributes:
        handler: loads and asks the model.
        fingerprint: of the handler's class and state, see :func:`runinference.loader.fingerprint`.
        path: where to load from instead of the handler's own path.
        execution: where and how the model runs.
        batching: what bounds a call of this model.
    """

    handler: Handler
    fingerprint: str
    path: str | None = None
    execution: Execution = Execution()
    batching: BatchConfig = BatchConfig()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelVersion) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, str | None]:
        return (self.fingerprint, self.path)


class LoadedModel(Protocol):
    """A model that can be asked, wherever it runs."""

    @property
    def name(self) -> str:
        """The handler's name."""

    @property
    def model_id(self) -> str | None:
        """Names the model that predicts."""

    size_bound: int | None
    """The largest call that memory suffices for, once one did not; shared by all threads."""

    def prepare(self, batch: Batch) -> Batch:
        """The batch with the lengths of its examples, where the handler can tell them."""

    def predict(self, batch: Batch, inference_args: dict[str, Any] | None) -> Predictions:
        """Exactly one prediction per example, in order.

        Raises:
            InferenceError: the model's answer cannot be used.
            FeatureError: the table lacks a column that the model needs.
            Exception: whatever the handler raises.
        """

    def num_bytes(self, batch: Batch) -> int:
        """Bytes of data that the model sees."""

    def close(self) -> None:
        """Release the model; called once, after its last use."""


class LocalModel:
    """A model in this process."""

    def __init__(self, version: ModelVersion) -> None:
        """Load it.

        Raises:
            Exception: whatever the handler's ``load_model``, the warm-up or the validation raises.
        """
        self.size_bound: int | None = None
        # The copy holds what load_model learns, so that one handler serves several versions.
        handler = cast("Any", copy.copy(version.handler))
        if version.path is not None:
            handler.update_model_path(version.path)
        os.environ.update(version.execution.env_vars or {})
        if hasattr(handler, "set_environment_vars"):  # a handler of Beam's
            handler.set_environment_vars()
        self._handler = handler
        self._model = handler.load_model()
        self.name = handler_name(handler)
        if version.execution.threads is not None and hasattr(handler, "set_threads"):
            handler.set_threads(self._model, version.execution.threads)
        known = getattr(handler, "model_id", None) or getattr(handler, "model_path", None)
        self.model_id: str | None = str(known) if known else None
        if version.execution.warmup_examples:
            self.predict(RowBatch(list(version.execution.warmup_examples)), None)
        if version.execution.validate_fn:
            version.execution.validate_fn(self._model)

    def prepare(self, batch: Batch) -> Batch:
        """See :class:`LoadedModel`."""
        handler = self._handler
        if not self._is_vector() or handler.length is None:
            return batch
        if isinstance(batch, RowBatch):
            examples = batch.examples
        elif handler.collate_table is None:
            examples = handler.examples_from(self._features(batch), self._model)
        else:
            return batch
        prepared = self._prepare(examples)
        lengths = [handler.length(example) for example in prepared]
        return dataclasses.replace(batch, prepared=prepared, lengths=lengths)

    def predict(self, batch: Batch, inference_args: dict[str, Any] | None) -> Predictions:
        """See :class:`LoadedModel`."""
        if isinstance(batch, TableBatch):
            return self._predict_table(batch, inference_args)
        return self._predict_rows(batch.examples, batch.prepared, inference_args)

    def num_bytes(self, batch: Batch) -> int:
        """See :class:`LoadedModel`."""
        if isinstance(batch, TableBatch):
            return int(self._features(batch).nbytes)
        count = getattr(self._handler, "get_num_bytes", num_bytes)
        return int(count(batch.examples))

    def close(self) -> None:
        """See :class:`LoadedModel`."""
        model, self._model = self._model, None
        close_model = getattr(self._handler, "close_model", None)
        if close_model is not None:
            close_model(model)

    def _predict_rows(
        self,
        examples: Sequence[Any],
        prepared: Sequence[Any] | None,
        inference_args: dict[str, Any] | None,
    ) -> list[Any]:
        if prepared is not None:
            raw = self._handler.run_prepared(prepared, self._model, inference_args)
        else:
            raw = self._handler.run_inference(examples, self._model, inference_args)
        return read_predictions(raw, len(examples), source=f"{self.name}.run_inference()")

    def _predict_table(self, batch: TableBatch, inference_args: dict[str, Any] | None) -> pa.Table:
        handler, model = self._handler, self._model
        steps = self._is_vector() and type(handler).split is VectorModelHandler.split
        if steps and batch.prepared is None and handler.collate_table is not None:
            collated = handler.collate_table(self._features(batch), model)
            outputs = handler.predict(collated, model, inference_args)
            return handler.read_outputs(outputs, len(batch)).columns(batch.output)
        prepared = batch.prepared
        examples: Sequence[Any] = prepared if prepared is not None else self._examples(batch)
        if steps:
            prepared = self._prepare(examples) if prepared is None else prepared
            outputs = handler.predict(handler.collate(prepared, model), model, inference_args)
            read = handler.read_outputs(outputs, len(batch))
            return read.columns(batch.output, handler.output_lengths(read, prepared))
        rows = self._predict_rows(examples, prepared, inference_args)
        raise_failed(rows)
        return columns_of_rows(rows, batch.output)

    def _prepare(self, examples: Sequence[Any]) -> Sequence[Any]:
        prepared = self._handler.prepare(examples, self._model)
        prepared = prepared if isinstance(prepared, Sequence) else list(prepared)
        if len(prepared) != len(examples):
            raise PredictionCountError(
                f"{self.name}.prepare() returned {len(prepared)} prepared examples for "
                f"{len(examples)}: exactly one per example, in order, is needed"
            )
        return prepared

    def _examples(self, batch: TableBatch) -> Sequence[Any]:
        table = self._features(batch)
        if hasattr(self._handler, "examples_from"):
            examples: Sequence[Any] = self._handler.examples_from(table, self._model)
            return examples
        return examples_of(table)

    def _features(self, batch: TableBatch) -> pa.Table:
        names: Sequence[str] | None = batch.features
        if names is None and hasattr(self._handler, "feature_names"):
            names = self._handler.feature_names(self._model)
        if names is None:
            names = [n for n in numeric_columns(batch.table.schema) if n not in batch.exclude]
            if not names:
                raise FeatureError(
                    "the table has no numeric column for the model: name its features; it has "
                    f"{listed(batch.table.column_names)}"
                )
        takes_nulls = getattr(self._handler, "takes_nulls", None)
        may = takes_nulls is not None and takes_nulls(self._model)
        return select_features(batch.table, names, takes_nulls=may)

    def _is_vector(self) -> bool:
        kind = type(self._handler)
        return (
            isinstance(self._handler, VectorModelHandler)
            and kind.run_inference is VectorModelHandler.run_inference
        )


def raise_failed(predictions: Predictions) -> None:
    """Raise for the first example that its handler marked as failed.

    Raises:
        ExampleFailedError: with the handler's own error as its cause.
    """
    if isinstance(predictions, list):
        for position, prediction in enumerate(predictions):
            if isinstance(prediction, ExampleFailed):
                raise ExampleFailedError(
                    f"example {position} of a batch of {len(predictions)} failed: "
                    f"{type(prediction.error).__name__}: {prediction.error}"
                ) from prediction.error
