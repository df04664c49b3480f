"""RunTableInference: tables in, the same tables with prediction columns out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from runinference.batching import check_in_flight, gathered_size
from runinference.coders import tabular_type
from runinference.column_step import batching_of_columns, named, predicted, refuse_functions
from runinference.config import ROW_ONLY, BatchConfig, Execution
from runinference.errors import ConfigurationError
from runinference.handler import Handler
from runinference.keyed import KeyedModelHandler
from runinference.projection import NeededColumns
from runinference.step import InferenceTransform, Step
from runinference.table_edge import GatherTables, TableEdge
from runinference.watching import Refresh, Watching

__all__ = ["RunTableInference"]

# Enough for the fixed cost of a call to be small, few enough to hold back in a bundle.
_GATHERED_ROWS = 8192


class RunTableInference(InferenceTransform):
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
        key: the column that chooses each row's model, with a :class:`KeyedModelHandler` that has a
            model per key; it is no feature unless ``features`` or a model names it.
        keep: the columns that stay in the output; all by default.
        batching: ``max_size`` rows in one call of the model, or ``max_tokens``.
        execution: where and how the model runs.
        inference_args: extra arguments of every call of the model.
        metrics_namespace: instead of the handler's own.
        model_metadata_pcoll: a PCollection that tells of other models while the pipeline runs, of
            :class:`ModelMetadata`, or of lists of :class:`KeyModelPathMapping` with a model per
            key. It is a side input, of which the last element counts.
        watch_model_pattern: files, of which the one that was changed last is the model.
        refresh: ``"poll"``: each worker looks for files itself, which works with every runner;
            ``"side_input"``: the runner does, for all workers together, where it supports
            side inputs that go on.
        refresh_interval_s: seconds between two looks.
        options: with a name, what the handler's constructor takes.

    Raises:
        ConfigurationError: no handler, or options that cannot work together.
        HandlerLookupError: a name that leads to no handler.
        TypeError: an option that neither this nor the handler takes.
    """

    def __init__(
        self,
        handler: Handler | KeyedModelHandler | str,
        *,
        features: Sequence[str] | None = None,
        output: str = "prediction",
        key: str | None = None,
        keep: Sequence[str] | None = None,
        batching: BatchConfig | None = None,
        execution: Execution | None = None,
        inference_args: dict[str, Any] | None = None,
        metrics_namespace: str | None = None,
        model_metadata_pcoll: Any = None,
        watch_model_pattern: str | None = None,
        refresh: Refresh = "poll",
        refresh_interval_s: float = 60.0,
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
            Watching(model_metadata_pcoll, watch_model_pattern, refresh, refresh_interval_s),
        )
        self._features = named(features, "features")
        self._keep = named(keep, "keep")
        self._edge = TableEdge(self._features, output, self._keep, key)
        self._check(key)

    def needed_columns(self, pipeline: beam.Pipeline) -> NeededColumns | None:
        """The columns that this uses, for a reader of the pipeline that leaves out the others; None
        where each model may need others."""
        if self._step.models is not None:
            return None
        version = self._step.version(self._step.batching, pipeline)
        return NeededColumns(version, self._features, self._keep)

    def expand(self, tables: beam.PCollection[Any]) -> Any:
        """Gather small tables, predict, and give each its own predictions."""
        step = self._step
        batching = batching_of_columns(step)
        check_in_flight(batching, step.batching, step.in_flight)
        rows = gathered_size(
            min(batching.max_size or _GATHERED_ROWS, _GATHERED_ROWS), step.in_flight
        )
        kind = tabular_type(tables.element_type)
        return predicted(step, GatherTables(rows), self._edge, batching, tables, kind, kind)

    def _check(self, key: str | None) -> None:
        step = self._step
        if step.keyed is not None and step.models is None:
            raise ConfigurationError(
                "RunTableInference takes tables, whose rows need no key for one model: pass the "
                "inner handler"
            )
        if (key is None) != (step.models is None):
            raise ConfigurationError(
                "RunTableInference: key= names the column that chooses a row's model, and belongs "
                "to KeyedModelHandler([KeyModelMapping(...), ...]); one needs the other"
            )
        refuse_functions(step)
        for field in step.batching.given():
            if field in ROW_ONLY:
                raise ConfigurationError(
                    f"RunTableInference: BatchConfig({field}=...) has no effect on tables; "
                    "max_size and max_tokens have"
                )
