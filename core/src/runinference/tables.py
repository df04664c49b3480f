"""RunTableInference: Arrow tables in, the same tables with prediction columns out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from runinference.batch import TableBatch
from runinference.batching import check_tokens
from runinference.config import BatchConfig, Execution
from runinference.errors import ConfigurationError
from runinference.handler import Handler
from runinference.step import Step
from runinference.worker import Part

__all__ = ["RunTableInference"]

_ROW_ONLY = (
    "length_boundaries",
    "length_fn",
    "max_wait_s",
    "max_weight",
    "min_size",
    "target_duration_s",
    "target_duration_with_overhead_s",
    "target_overhead",
    "weight_fn",
)


class RunTableInference(beam.PTransform[Any, Any]):
    """Predicts every row of a PCollection of Arrow tables; rows never become Python objects.

    From ``PCollection[pyarrow.Table]`` to the same: each table with the columns that stay and its
    predictions behind them, in the order of its rows, at its own timestamp and window.

    Args:
        handler: a handler object, or a handler's name.
        features: the columns that the model sees, in its order; by default those that the model
            was trained on, where it knows them, else every numeric column that ``keep`` does not
            name.
        output: the name of the prediction column; a model that answers with several leaves makes
            one column of each, ``<output>_<leaf>``.
        keep: the columns that stay in the output; all by default.
        batching: ``max_size`` rows in one call of the model, or ``max_tokens``.
        execution: where and how the model runs.
        inference_args: extra arguments of every call of the model.
        metrics_namespace: instead of the handler's own.
        options: with a name, what the handler's constructor takes.

    Raises:
        ConfigurationError: no handler, or options that cannot work together.
        HandlerLookupError: a name that leads to no handler.
        TypeError: an option that neither this nor the handler takes.
    """

    def __init__(
        self,
        handler: Handler | str,
        *,
        features: Sequence[str] | None = None,
        output: str = "prediction",
        keep: Sequence[str] | None = None,
        batching: BatchConfig | None = None,
        execution: Execution | None = None,
        inference_args: dict[str, Any] | None = None,
        metrics_namespace: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._step = Step(
            "RunTableInference",
            handler,
            options,
            batching or BatchConfig(),
            execution or Execution(),
            inference_args,
            metrics_namespace,
        )
        self._edge = TableEdge(_names(features, "features"), output, _names(keep, "keep"))
        self._check()

    def default_label(self) -> str:
        """``RunTableInference(<handler>: <model's base name>)``."""
        return self._step.label()

    def annotations(self) -> dict[str, Any]:
        """What a runner may show of the step."""
        return {**super().annotations(), **self._step.annotations()}

    def expand(self, tables: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Predict; each element is its own batch, cut where it is too large for one call."""
        description = self._step.description
        # What a handler says about batches of examples has no meaning for tables but its bounds.
        own = description.batching
        bounds = BatchConfig(max_size=own.max_size, max_tokens=own.max_tokens)
        batching = self._step.batching.over(bounds)
        check_tokens(batching, self._step.handler)
        predict = self._step.predict(self._edge, batching).with_output_types(pa.Table)
        scored: beam.PCollection[Any] = tables | "Predict" >> predict
        return scored

    def _check(self) -> None:
        step = self._step
        if step.keyed is not None:
            raise ConfigurationError(
                "RunTableInference takes tables, which have no keys: pass the inner handler"
            )
        if step.description.preprocess_fns or step.description.postprocess_fns:
            raise ConfigurationError(
                "RunTableInference calls no preprocess or postprocess functions, which take single "
                "examples: map the tables before or after it"
            )
        for field in step.batching.given():
            if field in _ROW_ONLY:
                raise ConfigurationError(
                    f"RunTableInference: BatchConfig({field}=...) has no effect on tables; "
                    "max_size and max_tokens have"
                )


class TableEdge:
    """Tables in, tables with predictions out."""

    def __init__(
        self, features: tuple[str, ...] | None, output: str, keep: tuple[str, ...] | None
    ) -> None:
        self._features = features
        self._output = output
        self._keep = keep

    def open(self, element: pa.Table) -> tuple[TableBatch, None]:
        """The table's rows as a batch."""
        if not isinstance(element, pa.Table):
            raise ConfigurationError(
                f"RunTableInference takes pyarrow.Table elements, but one is "
                f"{type(element).__name__}"
            )
        for name in self._keep or ():
            if name not in element.column_names:
                raise ConfigurationError(
                    f"keep names {name!r}, but the table has "
                    f"{', '.join(map(repr, element.column_names))}"
                )
        return TableBatch(element, self._features, self._keep or (), self._output), None

    def emit(
        self,
        element: pa.Table,
        batch: TableBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        windows: Sequence[Any],
    ) -> Iterable[pa.Table]:
        """One table per table."""
        if not parts:  # no rows: nobody can tell the type of predictions that were not made
            predictions = pa.table({self._output: pa.nulls(0)})
        else:
            predictions = batch.merge((part.positions, part.predictions) for part in parts)
        table = element if self._keep is None else element.select(list(self._keep))
        for name, column in zip(predictions.column_names, predictions.columns, strict=True):
            if name in table.column_names:
                raise ConfigurationError(
                    f"the table has a column {name!r} already: choose another output="
                )
            table = table.append_column(name, column)
        return (table,)


def _names(names: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    if isinstance(names, str):
        raise ConfigurationError(f"{what}={names!r} is a string: write {what}=[{names!r}]")
    return None if names is None else tuple(names)
