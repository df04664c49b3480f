"""RunRowInference: rows with a schema in, the same rows with a prediction field out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.typehints import row_type

from runinference.batching import as_beam_kwargs, check_batching, check_in_flight
from runinference.column_step import batching_of_columns, named, predicted, refuse_functions
from runinference.config import BatchConfig, Execution
from runinference.errors import ConfigurationError
from runinference.failures import Failure
from runinference.gathering import Gather, GatherExamples
from runinference.handler import Handler
from runinference.hints import did_you_mean, listed
from runinference.schema_rows import SchemaEdge, arrow_type, fields_of
from runinference.step import InferenceTransform, Step
from runinference.transform import held
from runinference.watching import Refresh, Watching

__all__ = ["RunRowInference"]

# What needs a function of an example, which a row of a batch of columns is not.
_OF_EXAMPLES = ("max_weight", "weight_fn", "length_fn", "length_boundaries")


class RunRowInference(InferenceTransform):
    """Predicts every row of a PCollection with a schema, as Beam YAML, SQL and other SDKs have it.

    From ``PCollection[beam.Row]``, or of a ``NamedTuple`` with types, to ``PCollection[beam.Row]``:
    each row's fields that stay, and its prediction behind them, at the row's own timestamp and
    window. The model is given columns, as with :class:`RunTableInference`.

    Args:
        handler: a handler object, or a handler's name.
        features: the fields that the model sees, in its order; by default those that the model
            was trained on, where it knows them, else every numeric field that ``keep`` does not
            name.
        output: the name of the prediction's field. It is a number, a text or a list, and a dict
            where a model answers with several leaves.
        output_type: the Python type of that field, where what comes next has to know it, such as
            a sink with a schema or another SDK; predictions are converted to it.
        keep: the fields that stay in the output; all by default.
        batching: bounds of a call of the model; over what the handler says itself.
        execution: where and how the model runs.
        inference_args: extra arguments of every call of the model.
        metrics_namespace: instead of the handler's own.
        model_metadata_pcoll: a PCollection of :class:`ModelMetadata` that tells of other models
            while the pipeline runs. It is a side input, of which the last element counts.
        watch_model_pattern: files, of which the one that was changed last is the model.
        refresh: ``"poll"``: each worker looks for files itself, which works with every runner;
            ``"side_input"``: the runner does, for all workers together, where it supports
            side inputs that go on.
        refresh_interval_s: seconds between two looks.
        options: with a name, what the handler's constructor takes.

    Raises:
        ConfigurationError: no handler, fields that are not there, or options that cannot work
            together.
        HandlerLookupError: a name that leads to no handler.
        TypeError: an option that neither this nor the handler takes.
    """

    def __init__(
        self,
        handler: Handler | str,
        *,
        features: Sequence[str] | None = None,
        output: str = "prediction",
        output_type: Any = Any,
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
            "RunRowInference",
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
        self._output = output
        self._output_type = output_type
        self._check()

    def expand(self, rows: beam.PCollection[Any]) -> Any:
        """Batch, predict, and give each row its prediction."""
        step = self._step
        fields = fields_of(rows.element_type)
        kept = self._kept(fields)
        batching = batching_of_columns(step)
        check_batching(batching, step.batching, False, rows.windowing)
        check_in_flight(batching, step.batching, step.in_flight)

        gather: Gather
        kwargs = as_beam_kwargs(batching, timed=True, in_flight=step.in_flight)
        if batching.max_wait_s is None:
            gather = GatherExamples(kwargs)
        else:
            rows, gather = held(rows, kwargs, timed=True)
        edge = SchemaEdge(
            {name: arrow_type(kind) for name, kind in fields.items()},
            self._features,
            kept,
            self._keep or (),
            self._output,
            None if self._output_type is Any else arrow_type(self._output_type),
        )
        kind = row_type.RowTypeConstraint.from_fields(
            [*((name, fields[name]) for name in kept), (self._output, self._output_type)]
        )
        return predicted(step, gather, edge, batching, rows, kind, Failure)

    def _kept(self, fields: dict[str, Any]) -> tuple[str, ...]:
        kept = tuple(fields) if self._keep is None else self._keep
        for option, names in (("features", self._features or ()), ("keep", kept)):
            for name in names:
                if name not in fields:
                    hint = did_you_mean(name, fields)
                    raise ConfigurationError(
                        f"{option} names {name!r}, which the rows do not have; {hint}"
                        f"they have {listed(list(fields))}"
                    )
        if self._output in kept:
            raise ConfigurationError(
                f"the rows have a field {self._output!r} already: choose another output="
            )
        return kept

    def _check(self) -> None:
        step = self._step
        if step.keyed is not None:
            raise ConfigurationError(
                "RunRowInference takes rows, whose fields are their keys: pass the inner handler"
            )
        refuse_functions(step)
        for field in step.batching.given():
            if field in _OF_EXAMPLES:
                raise ConfigurationError(
                    f"RunRowInference: BatchConfig({field}=...) has no effect on rows; max_size, "
                    "max_wait_s and max_tokens have"
                )
