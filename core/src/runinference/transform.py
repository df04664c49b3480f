"""RunInference: from a PCollection of examples to one of predictions."""

from __future__ import annotations

from typing import Any, Literal

import apache_beam as beam
from apache_beam.typehints import typehints

from runinference.batching import as_beam_kwargs, check_batching, check_in_flight
from runinference.coders import TimedExample, UntimedExample
from runinference.config import BatchConfig, Execution
from runinference.dead_letters import check_failures
from runinference.errors import ConfigurationError
from runinference.failures import COUNTS, FAILED, FailurePolicy, RunInferenceDLQ
from runinference.functions import Functions, functions_by_key
from runinference.gathering import Gather, GatherExamples, Unpack, for_any_consumer
from runinference.handler import Handler
from runinference.results import PredictionResult
from runinference.rows import AttachTime, RowEdge, held_batch, own_batch, timed_batch
from runinference.step import InferenceTransform, Keyed, Step
from runinference.watching import Refresh, Watching

__all__ = ["RunInference", "held"]


class RunInference(InferenceTransform):
    """Predicts every example of a PCollection with a model.

    From ``PCollection[example]`` to ``PCollection[PredictionResult]``; with a
    :class:`KeyedModelHandler` from ``(key, example)`` to ``(key, PredictionResult)``. Each result
    keeps its example's window and, by default, its event timestamp.

    Args:
        handler: a handler object, or a handler's name.
        output: ``"result"``: a PredictionResult; ``"inference"``: the prediction alone, where the
            example is large and nobody asks for it again.
        batching: bounds of a call of the model; over what the handler says itself.
        execution: where and how the model runs.
        inference_args: extra arguments of every call of the model.
        metrics_namespace: instead of the handler's own.
        preserve_timestamps: False where nobody asks for the time of results: those in the global
            window are then at its end, as Beam's own RunInference has all of them, which saves
            reading each example's time.
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
        handler: Handler | Keyed | str,
        *,
        output: Literal["result", "inference"] = "result",
        batching: BatchConfig | None = None,
        execution: Execution | None = None,
        inference_args: dict[str, Any] | None = None,
        metrics_namespace: str | None = None,
        preserve_timestamps: bool = True,
        model_metadata_pcoll: Any = None,
        watch_model_pattern: str | None = None,
        refresh: Refresh = "poll",
        refresh_interval_s: float = 60.0,
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
            Watching(model_metadata_pcoll, watch_model_pattern, refresh, refresh_interval_s),
        )
        self._preserve_timestamps = preserve_timestamps
        self._only_inference = output == "inference"
        if output not in ("result", "inference"):
            raise ConfigurationError(
                f'RunInference(output={output!r}): "result" or "inference" is needed'
            )

    def expand(self, examples: beam.PCollection[Any]) -> Any:
        """Preprocess, batch, predict, postprocess."""
        step = self._step
        description = step.description
        batching = step.batching.over(description.batching)
        skips_batching = description.skips_batching or step.outer_skips_batching
        check_batching(batching, step.batching, skips_batching, examples.windowing)
        check_in_flight(batching, step.batching, step.in_flight, skips_batching)
        keyed = step.keyed
        key_type = _key_type(examples.element_type)
        if self._only_inference and self._postprocesses():
            raise ConfigurationError(
                'RunInference(output="inference") has no effect behind postprocess functions, '
                "which say what leaves: drop one of the two"
            )
        # a batch that the user made has its keys inside, out of reach of the inner handler's
        inner_keyed = None if skips_batching else keyed

        before = Functions("preprocess", step.policy)
        examples = before.apply(examples, step.outer_preprocess_fns, "PreprocessPair", keyed)
        examples = before.apply(
            examples, description.preprocess_fns, "Preprocess", inner_keyed, key_type
        )
        if step.models is not None:
            functions = functions_by_key(step.models, "get_preprocess_fns")
            examples = before.apply(examples, functions, "Preprocess", keyed)
        gather: Gather
        if skips_batching:
            gather = Unpack(own_batch)
        elif batching.max_wait_s is None:
            gather = GatherExamples(as_beam_kwargs(batching, in_flight=step.in_flight))
        else:
            kwargs = as_beam_kwargs(
                batching,
                timed=self._preserve_timestamps,
                keyed=keyed,
                in_flight=step.in_flight,
            )
            examples, gather = held(examples, kwargs, timed=self._preserve_timestamps)
        predict = step.predict(
            gather,
            RowEdge(keyed, only_inference=self._only_inference),
            batching,
            examples,
            step.policy or FailurePolicy(),
            keeps_time=self._preserve_timestamps,
        )
        predict = predict.with_output_types(_result_type(keyed, key_type, self._only_inference))
        after = Functions("postprocess", step.policy)
        if step.policy is None:
            results = examples | "Predict" >> predict
            failed = None
        else:
            outputs = examples | "Predict" >> predict.with_outputs(FAILED, COUNTS, main="results")
            results = outputs["results"]
            failed = for_any_consumer(outputs[FAILED], "Failed")
        results = for_any_consumer(results, "Results")
        results = after.apply(results, description.postprocess_fns, "Postprocess", keyed, key_type)
        if step.models is not None:
            functions = functions_by_key(step.models, "get_postprocess_fns")
            results = after.apply(results, functions, "Postprocess", keyed)
        results = after.apply(results, step.outer_postprocess_fns, "PostprocessPair", keyed)
        if failed is None:
            return results
        check_failures(outputs[COUNTS], before.failed, after.failed, step.threshold)
        return results, RunInferenceDLQ(failed, before.failed, after.failed)

    @property
    def gives_results(self) -> bool:
        """Whether what leaves are PredictionResults, with or without a key."""
        return not self._only_inference and not self._postprocesses()

    def _postprocesses(self) -> bool:
        step = self._step
        functions = [step.description.postprocess_fns, step.outer_postprocess_fns]
        if step.models is not None:
            functions += [functions_by_key(step.models, "get_postprocess_fns")]
        return any(functions)


def held(examples: beam.PCollection[Any], kwargs: dict[str, Any], *, timed: bool) -> Any:
    """Batches that Beam holds across bundles, and what takes them apart.

    Args:
        examples: one by one.
        kwargs: of ``beam.BatchElements``.
        timed: whether each example keeps its own time.
    """
    # a type whose coder does not pickle examples to know their sizes
    kind = TimedExample if timed else UntimedExample
    if timed:
        attach = beam.ParDo(AttachTime())  # type: ignore[no-untyped-call]  # of Beam's DoFn
        examples = examples | "KeepTime" >> attach.with_output_types(kind)
    batched = beam.BatchElements(**kwargs).with_output_types(typehints.List[kind])
    return examples | "Batch" >> batched, Unpack(timed_batch if timed else held_batch)


def _key_type(element_type: Any) -> Any:
    try:
        return typehints.coerce_to_kv_type(element_type).tuple_types[0]
    except (ValueError, AttributeError):
        return typehints.Any


def _result_type(keyed: str | None, key_type: Any, only_inference: bool) -> Any:
    result = typehints.Any if only_inference else PredictionResult
    if keyed is None:
        return result
    if keyed == "always":
        return typehints.Tuple[key_type, result]
    return typehints.Any
