"""RunInference: from a PCollection of examples to one of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.typehints import typehints

from runinference.batching import as_beam_kwargs, check_batching
from runinference.coders import TimedExample, UntimedExample
from runinference.config import BatchConfig, Execution
from runinference.handler import Handler
from runinference.results import PredictionResult
from runinference.rows import AttachTime, RowEdge
from runinference.step import Keyed, Step

__all__ = ["RunInference"]


class RunInference(beam.PTransform[Any, Any]):
    """Predicts every example of a PCollection with a model.

    From ``PCollection[example]`` to ``PCollection[PredictionResult]``; with a
    :class:`KeyedModelHandler` from ``(key, example)`` to ``(key, PredictionResult)``. Each result
    keeps its example's window and, by default, its event timestamp.

    Args:
        handler: a handler object, or a handler's name.
        batching: bounds of a call of the model; over what the handler says itself.
        execution: where and how the model runs.
        inference_args: extra arguments of every call of the model.
        metrics_namespace: instead of the handler's own.
        preserve_timestamps: False to have each result at the end of its window, as Beam's own
            RunInference does; it saves reading and writing a timestamp per example.
        options: with a name, what the handler's constructor takes.

    Raises:
        ConfigurationError: no handler, or options that cannot work together.
        HandlerLookupError: a name that leads to no handler.
        TypeError: an option that neither this nor the handler takes.
    """

    def __init__(
        self,
        handler: Handler | Keyed | str,
        *,
        batching: BatchConfig | None = None,
        execution: Execution | None = None,
        inference_args: dict[str, Any] | None = None,
        metrics_namespace: str | None = None,
        preserve_timestamps: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self._step = Step(
            "RunInference",
            handler,
            options,
            batching or BatchConfig(),
            execution or Execution(),
            inference_args,
            metrics_namespace,
        )
        self._preserve_timestamps = preserve_timestamps

    def default_label(self) -> str:
        """``RunInference(<handler>: <model's base name>)``, so that two models need no labels."""
        return self._step.label()

    def annotations(self) -> dict[str, Any]:
        """What a runner may show of the step."""
        return {**super().annotations(), **self._step.annotations()}

    def expand(self, examples: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Preprocess, batch, predict, postprocess."""
        step = self._step
        description = step.description
        batching = step.batching.over(description.batching)
        skips_batching = description.skips_batching or step.outer_skips_batching
        check_batching(batching, step.batching, step.handler, skips_batching, examples.windowing)
        keyed = step.keyed
        key_type = _key_type(examples.element_type)

        examples = _apply(examples, step.outer_preprocess_fns, "PreprocessPair", None, None)
        inner_keyed = None if skips_batching else keyed
        examples = _apply(examples, description.preprocess_fns, "Preprocess", inner_keyed, key_type)
        timed = self._preserve_timestamps and not skips_batching
        if timed:
            attach = beam.ParDo(AttachTime())  # type: ignore[no-untyped-call]  # of Beam's DoFn
            examples = examples | "KeepTime" >> attach.with_output_types(TimedExample)
        if not skips_batching:
            kwargs = as_beam_kwargs(batching, timed=timed, keyed=keyed)
            batched = beam.BatchElements(**kwargs)
            # a type whose coder does not pickle examples to know their sizes
            kind = TimedExample if timed else UntimedExample
            examples = examples | "Batch" >> batched.with_output_types(typehints.List[kind])
        edge = RowEdge(keyed, timed=timed, is_batched=not skips_batching)
        predict = step.predict(edge, batching, examples.pipeline)
        results = examples | "Predict" >> predict.with_output_types(_result_type(keyed, key_type))
        results = _apply(results, description.postprocess_fns, "Postprocess", keyed, key_type)
        return _apply(results, step.outer_postprocess_fns, "PostprocessPair", None, None)


def _apply(
    elements: beam.PCollection[Any],
    functions: Iterable[Callable[[Any], Any]],
    label: str,
    keyed: str | None,
    key_type: Any,
) -> beam.PCollection[Any]:
    for number, function in enumerate(functions):
        mapped = beam.Map(function)
        if keyed is not None:
            mapped = beam.Map(_OnValue(function, is_always=keyed == "always"))
            if keyed == "always":
                mapped = mapped.with_output_types(typehints.Tuple[key_type, typehints.Any])
        elements = elements | f"{label}-{number}" >> mapped
    return elements


class _OnValue:
    """Applies a function to the value of a pair."""

    def __init__(self, function: Callable[[Any], Any], is_always: bool) -> None:
        self._function = function
        self._is_always = is_always

    def __call__(self, element: Any) -> Any:
        if not self._is_always and not (isinstance(element, tuple) and len(element) == 2):
            return self._function(element)
        key, value = element
        return key, self._function(value)


def _key_type(element_type: Any) -> Any:
    try:
        return typehints.coerce_to_kv_type(element_type).tuple_types[0]
    except (ValueError, AttributeError):
        return typehints.Any


def _result_type(keyed: str | None, key_type: Any) -> Any:
    if keyed is None:
        return PredictionResult
    if keyed == "always":
        return typehints.Tuple[key_type, PredictionResult]
    return typehints.Any
