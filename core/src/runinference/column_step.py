"""What the transforms of tables, and of rows with a schema, share: models are given columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from runinference.config import BatchConfig
from runinference.dead_letters import check_failures
from runinference.description import describe
from runinference.errors import ConfigurationError
from runinference.failures import COUNTS, FAILED, Count, FailurePolicy, RunInferenceDLQ
from runinference.gathering import Gather, for_any_consumer
from runinference.step import Step
from runinference.work import Edge

__all__ = ["batching_of_columns", "named", "predicted", "refuse_functions"]


def batching_of_columns(step: Step) -> BatchConfig:
    """What was told, over what the handler says; of what it says about batches of examples, only
    the bounds mean something for columns."""
    own = step.description.batching
    return step.batching.over(BatchConfig(max_size=own.max_size, max_tokens=own.max_tokens))


def predicted(
    step: Step,
    gather: Gather,
    edge: Edge[Any],
    batching: BatchConfig,
    elements: beam.PCollection[Any],
    kind: Any,
    failed_kind: Any,
) -> Any:
    """The elements with their predictions; with dead letters, those beside them.

    Args:
        step: predicts.
        gather: decides which elements come together.
        edge: between elements and batches.
        batching: bounds of a call of the model.
        elements: to predict.
        kind: of what leaves.
        failed_kind: of what fails.
    """
    # without dead letters, the row to blame is looked for and told
    policy = step.policy or FailurePolicy(Exception, is_fatal=True)
    predict = step.predict(gather, edge, batching, elements, policy)
    if step.policy is None:
        results = elements | "Predict" >> predict.with_output_types(kind)
        return for_any_consumer(results, "Results")
    predict = predict.with_output_types(kind, **{FAILED: failed_kind, COUNTS: Count})
    outputs = elements | "Predict" >> predict.with_outputs(FAILED, COUNTS, main="results")
    check_failures(outputs[COUNTS], (), (), step.threshold)
    failed = for_any_consumer(outputs[FAILED], "Failed")
    return for_any_consumer(outputs["results"], "Results"), RunInferenceDLQ(failed, (), ())


def named(names: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    """Names as a tuple.

    Raises:
        ConfigurationError: a string, which is a sequence of its letters.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"{what}={names!r} is a string: write {what}=[{names!r}]")
    return None if names is None else tuple(names)


def refuse_functions(step: Step) -> None:
    """Refuse functions around the model, which take single examples.

    Raises:
        ConfigurationError: the handler has some.
    """
    each = [describe(handler) for handler in step.handlers]
    functions = [f for one in each for f in (*one.preprocess_fns, *one.postprocess_fns)]
    if functions or step.outer_preprocess_fns or step.outer_postprocess_fns:
        raise ConfigurationError(
            f"{step.transform} calls no preprocess or postprocess functions, which take single "
            "examples: map the elements before or after it"
        )
