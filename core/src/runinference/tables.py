"""RunTableInference: tables in, the same tables with prediction columns out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from runinference.batching import check_tokens
from runinference.coders import TimedExample, tabular_type
from runinference.config import ROW_ONLY, BatchConfig, Execution
from runinference.errors import ConfigurationError
from runinference.handler import Handler
from runinference.step import Step
from runinference.table_edge import GatherTables, TableEdge

__all__ = ["RunTableInference"]

# Enough for the fixed cost of a call to be small, few enough to hold back in a bundle.
_GATHERED_ROWS = 8192


class RunTableInference(beam.PTransform[Any, Any]):
    """Predicts every row of a PCollection of tables; rows never become Python objects.

    From ``PCollection[pyarrow.Table]`` to the same: each table with the columns that stay and its
    predictions behind them, in the order of its rows, at its own timestamp and window. Elements may
    be ``pyarrow.RecordBatch`` or ``pandas.DataFrame`` too, and leave as what they came.

    The model sees other batches than the tables that travel: a large table is cut, at the size that
    this model predicts fastest, and small ones of a bundle are predicted together.

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
        """Gather small tables, predict, and give each its own predictions."""
        description = self._step.description
        # What a handler says about batches of examples has no meaning for tables but its bounds.
        own = description.batching
        bounds = BatchConfig(max_size=own.max_size, max_tokens=own.max_tokens)
        batching = self._step.batching.over(bounds)
        check_tokens(batching, self._step.handler)
        kind = tabular_type(tables.element_type)
        rows = min(batching.max_size or _GATHERED_ROWS, _GATHERED_ROWS)
        predict = self._step.predict(self._edge, batching, tables.pipeline)
        scored: beam.PCollection[Any] = (
            tables
            | "Gather" >> beam.ParDo(GatherTables(rows)).with_output_types(list[TimedExample])
            | "Predict" >> predict.with_output_types(kind)
        )
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
            if field in ROW_ONLY:
                raise ConfigurationError(
                    f"RunTableInference: BatchConfig({field}=...) has no effect on tables; "
                    "max_size and max_tokens have"
                )


def _names(names: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    if isinstance(names, str):
        raise ConfigurationError(f"{what}={names!r} is a string: write {what}=[{names!r}]")
    return None if names is None else tuple(names)
