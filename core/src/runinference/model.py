"""A handler together with its model: the only place that calls a handler's inference methods."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, cast

import pyarrow as pa

from runinference.batch import Batch, RowBatch, TableBatch
from runinference.beams import byte_counter, own_results
from runinference.columns import examples_of, select_features
from runinference.config import Execution
from runinference.description import handler_name
from runinference.errors import FeatureError, ModelLoadError, PredictionCountError
from runinference.handler import Handler, VectorModelHandler
from runinference.hints import listed
from runinference.memory import resident_bytes
from runinference.outputs import Outputs, read_predictions
from runinference.rendering import FiniteRows
from runinference.reporting import asking
from runinference.results import ExampleFailed, any_is
from runinference.versions import ModelVersion

__all__ = ["LoadedModel", "LocalModel", "Predictions"]

Predictions: TypeAlias = "list[Any] | pa.Table"
"""One prediction per example, or the prediction columns of a TableBatch; a list has
``ExampleFailed`` where the handler put it."""


class LoadedModel(Protocol):
    """A model that can be asked, wherever it runs."""

    @property
    def name(self) -> str:
        """The handler's name."""

    @property
    def model_id(self) -> str | None:
        """Names the model that predicts."""

    @property
    def sha256(self) -> str | None:
        """The digest of the model's file, where the handler tells it."""

    @property
    def byte_size(self) -> int:
        """What the process that the model runs in grew by when it loaded."""

    is_here: bool
    """Whether what a call needs in memory is this process's."""

    size_bound: int | None
    """The largest call that memory suffices for, once one did not; shared by all threads."""

    def feature_names(self) -> Sequence[str] | None:
        """The columns that the model was trained on, where it knows them."""

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

    def __init__(self, version: ModelVersion, *, start: bool = True) -> None:
        """Load it.

        Args:
            version: what to load.
            start: False leaves all that comes after ``load_model`` to :meth:`start`.

        Raises:
            Exception: whatever the handler's ``load_model``, the warm-up or the validation raises.
        """
        memory = resident_bytes()
        self.is_here, self.size_bound = True, cast("int | None", None)
        # The copy holds what load_model learns, so that one handler serves several versions.
        handler = cast("Any", copy.copy(version.handler))
        if version.path is not None:
            handler.update_model_path(version.path)
        os.environ.update(version.execution.env_vars or {})
        if hasattr(handler, "set_environment_vars"):  # a handler of Beam's
            handler.set_environment_vars()
        if version.execution.threads is not None and hasattr(handler, "threads"):
            handler.threads = version.execution.threads
        self._handler = handler
        self._model = handler.load_model()
        self.name = handler_name(handler)
        known = getattr(handler, "model_id", None) or getattr(handler, "model_path", None)
        self.model_id: str | None = str(known) if known else None
        self.sha256: str | None = getattr(handler, "sha256", None)
        if start:
            self.start(version.execution)
        self.byte_size = max(resident_bytes() - memory, 0)

    def start(self, execution: Execution, *, validate: bool = True) -> None:
        """Make the loaded model ready for its first call.

        Raises:
            Exception: ModelLoadError if the warm-up fails; whatever the validation raises.
        """
        if execution.threads is not None and hasattr(self._handler, "set_threads"):
            self._handler.set_threads(self._model, execution.threads)
        if execution.warmup_examples:
            try:
                self.predict(RowBatch(list(execution.warmup_examples)), None)
            except Exception as error:
                raise ModelLoadError(
                    f"{self.name}: {self.model_id!r} cannot predict the warm-up examples, or is "
                    f"damaged or of another version: {type(error).__name__}: {error}"
                ) from error
        if validate and execution.validate_fn:
            execution.validate_fn(self._model)

    def learnt(self, before: Handler) -> dict[str, Any]:
        """The attributes that the handler got, or got another value of, while the model loaded."""
        known = getattr(before, "__dict__", {})
        now = getattr(self._handler, "__dict__", {})
        return {n: v for n, v in now.items() if n not in known or known[n] is not v}

    def feature_names(self) -> Sequence[str] | None:
        """See :class:`LoadedModel`."""
        ask = getattr(self._handler, "feature_names", None)
        names: Sequence[str] | None = None if ask is None else ask(self._model)
        return None if names is None else list(names)  # handlers of Beam's models have an array

    def prepares(self, kind: type[Batch]) -> bool:
        """Whether :meth:`prepare` has something to do for batches of this kind."""
        handler = self._handler
        if not self._is_vector() or handler.length is None:
            return False
        return kind is RowBatch or handler.collate_table is None

    def prepare(self, batch: Batch) -> Batch:
        """See :class:`LoadedModel`."""
        handler = self._handler
        if not self.prepares(type(batch)):
            return batch
        if isinstance(batch, RowBatch):
            examples = batch.examples
        else:
            examples = handler.examples_from(self._features(batch), self._model)
        prepared = self._prepare(examples)
        # one that prepare() marked as failed is not sent to the model
        lengths = [0 if isinstance(e, ExampleFailed) else handler.length(e) for e in prepared]
        return dataclasses.replace(batch, prepared=prepared, lengths=lengths)

    def predict(self, batch: Batch, inference_args: dict[str, Any] | None) -> Predictions:
        """See :class:`LoadedModel`."""
        # a copy, since some handlers take arguments out of the dict that they are given
        inference_args = None if inference_args is None else dict(inference_args)
        if isinstance(batch, TableBatch):
            return self._predict_table(batch, inference_args)
        return self._predict_rows(batch.examples, batch.prepared, inference_args)

    def num_bytes(self, batch: Batch) -> int:
        """See :class:`LoadedModel`."""
        if isinstance(batch, TableBatch):
            return int(self._features(batch).nbytes)
        return int(byte_counter(self._handler)(batch.examples))

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
        # a list of their own, since a handler may empty or change the one that it is given
        if prepared is not None:
            raw = self._handler.run_prepared(list(prepared), self._model, inference_args)
        else:
            raw = self._handler.run_inference(list(examples), self._model, inference_args)
        if isinstance(raw, FiniteRows) and not self._makes_rows_as_they_come():
            raw = list(raw)  # a method of the author's may have changed them
        predictions = read_predictions(raw, len(examples), source=f"{self.name}.run_inference()")
        return own_results(predictions)

    def _predict_table(
        self, batch: TableBatch, inference_args: dict[str, Any] | None
    ) -> Predictions:
        handler, model = self._handler, self._model
        steps = self._is_vector() and type(handler).split is VectorModelHandler.split
        if steps and batch.prepared is None and handler.collate_table is not None:
            collated = handler.collate_table(self._features(batch), model)
            read = self._ask(collated, len(batch), inference_args)
            return read if isinstance(read, list) else read.columns(batch.output)
        prepared = batch.prepared
        examples: Sequence[Any] = prepared if prepared is not None else self.examples(batch)
        if steps:
            prepared = self._prepare(examples) if prepared is None else prepared
            if any_is(prepared, ExampleFailed):
                return self._predict_rows(examples, prepared, inference_args)
            collated = handler.collate(list(prepared), model)
            read = self._ask(collated, len(batch), inference_args)
            if isinstance(read, list):
                return read
            return read.columns(batch.output, handler.output_lengths(read, prepared))
        return self._predict_rows(examples, prepared, inference_args)

    def _ask(
        self, collated: Any, count: int, inference_args: dict[str, Any] | None
    ) -> Outputs | list[Any]:
        """The outputs; one prediction per example where some of them are marked as failed."""
        outputs = self._handler.predict(asking(collated), self._model, inference_args)
        if isinstance(outputs, list) and any_is(outputs, ExampleFailed):
            return read_predictions(outputs, count, source=f"{self.name}.predict()")
        read: Outputs = self._handler.read_outputs(outputs, count)
        return read

    def _prepare(self, examples: Sequence[Any]) -> Sequence[Any]:
        # a list of their own, since a handler may empty or change the one that it is given
        prepared = self._handler.prepare(list(examples), self._model)
        prepared = prepared if isinstance(prepared, Sequence) else list(prepared)
        if len(prepared) != len(examples):
            raise PredictionCountError(
                f"{self.name}.prepare() returned {len(prepared)} prepared examples for "
                f"{len(examples)}: exactly one per example, in order, is needed"
            )
        return prepared

    def examples(self, batch: TableBatch) -> Sequence[Any]:
        """The rows of a table as the handler makes examples of them."""
        table = self._features(batch)
        if hasattr(self._handler, "examples_from"):
            examples: Sequence[Any] = self._handler.examples_from(table, self._model)
            return examples
        return examples_of(table)

    def _features(self, batch: TableBatch) -> pa.Table:
        names = batch.feature_names(self.feature_names())
        if not names:
            raise FeatureError(
                "the table has no numeric column for the model: name its features; it has "
                f"{listed(batch.table.column_names)}"
            )
        return select_features(batch.table, names, takes_nulls=self._takes_nulls)

    @functools.cached_property
    def _takes_nulls(self) -> bool:  # once: a pipeline asks each of its steps
        ask = getattr(self._handler, "takes_nulls", None)
        return ask is not None and bool(ask(self._model))

    def _makes_rows_as_they_come(self) -> bool:
        kind, base = type(self._handler), VectorModelHandler
        is_own = kind.split is base.split and kind.run_prepared is base.run_prepared
        return self._is_vector() and is_own

    def _is_vector(self) -> bool:
        kind = type(self._handler)
        return (
            isinstance(self._handler, VectorModelHandler)
            and kind.run_inference is VectorModelHandler.run_inference
        )
