"""What RunInference and RunTableInference share: one handler, checked, described and named."""

from __future__ import annotations

import dataclasses
import posixpath
import uuid
from typing import Any, Self

import apache_beam as beam
from apache_beam.transforms.window import FixedWindows, GlobalWindows, Sessions

from runinference.batching import check_tokens
from runinference.beams import unwrap
from runinference.config import BatchConfig, Execution, beam_replacement
from runinference.description import (
    HandlerDescription,
    check_handler,
    describe,
    describe_together,
)
from runinference.environment import Carried, built_with
from runinference.errors import ConfigurationError
from runinference.failures import FailurePolicy
from runinference.gathering import Gather
from runinference.handler import Handler
from runinference.keyed import KeyedModelHandler, MaybeKeyedModelHandler
from runinference.keyed_models import KeyedModels, VersionOf
from runinference.keyed_router import KeyedRouter
from runinference.loader import fingerprint, run_of
from runinference.registry import create_handler
from runinference.router import Router, SingleModelRouter
from runinference.threads import share_of_threads
from runinference.versions import ModelVersion
from runinference.watching import Watching
from runinference.work import Edge, Work
from runinference.worker import AtTheEnd, InferenceDoFn, OnePerWindow

__all__ = ["InferenceTransform", "Keyed", "Step"]

Keyed = KeyedModelHandler | MaybeKeyedModelHandler
_ONE_WINDOW_EACH = (GlobalWindows, FixedWindows, Sessions)


class Step:
    """One handler with what was told to the transform about running it."""

    def __init__(
        self,
        transform: str,
        handler: Handler | Keyed | str,
        options: dict[str, Any],
        batching: BatchConfig,
        execution: Execution,
        inference_args: dict[str, Any] | None,
        metrics_namespace: str | None,
        watching: Watching,
    ) -> None:
        self.transform = transform
        self._watching = watching
        if isinstance(handler, str):
            handler = create_handler(handler, _reserved=RESERVED, **options)
        elif options:
            raise TypeError(_misplaced_option(transform, next(iter(options))))
        unwrapped = unwrap(handler)
        self.keyed = unwrapped.keyed
        self.outer_preprocess_fns = unwrapped.preprocess_fns
        self.outer_postprocess_fns = unwrapped.postprocess_fns
        self.outer_skips_batching = unwrapped.skips_batching
        self.models = unwrapped.models
        if self.models is None:
            handlers = [check_handler(unwrapped.handler, transform)]
            self.description: HandlerDescription = describe(handlers[0])
        else:
            handlers = self.models.handlers()
            self.description = describe_together(handlers)
        self.handlers = handlers
        self.batching = batching
        self._execution = execution
        self._inference_args = inference_args
        self._metrics_namespace = metrics_namespace
        self.policy: FailurePolicy | None = None
        self.threshold: float | None = 1.0
        for one in handlers:
            validate = getattr(one, "validate_inference_args", None)
            if validate is not None:
                validate(inference_args)

    def with_exception_handling(
        self,
        exc_class: type[Exception] | tuple[type[Exception], ...],
        threshold: float | None,
        timeout: float | None,
        isolate: bool,
    ) -> None:
        """Make failures of examples leave on their own."""
        kinds = exc_class if isinstance(exc_class, tuple) else (exc_class,)
        if not kinds or not all(isinstance(k, type) and issubclass(k, Exception) for k in kinds):
            raise ConfigurationError(
                f"with_exception_handling(exc_class={exc_class!r}): a class of exceptions, or a "
                "tuple of them, is needed"
            )
        is_share = threshold is None or (threshold is not True and 0 <= threshold <= 1)
        if not is_share or threshold is False:
            raise ConfigurationError(
                f"with_exception_handling(threshold={threshold!r}): the share of examples that may "
                "fail is needed, from 0 to 1, or None"
            )
        if timeout is not None:
            self._execution = dataclasses.replace(self._execution, timeout=timeout)
        self.policy = FailurePolicy(exc_class, isolate)
        self.threshold = threshold

    @property
    def in_flight(self) -> int:
        """How many calls a worker makes at the same time."""
        return self._execution.in_flight

    def label(self) -> str:
        """The transform's name with the handler's and the model's."""
        path = self._model_path()
        model = f": {posixpath.basename(path.rstrip('/'))}" if path else ""
        return f"{self.transform}({self.description.name}{model})"

    def annotations(self) -> dict[str, Any]:
        """What a runner may show of the step."""
        kinds = {type(handler) for handler in self.handlers}
        path = self._model_path()
        return {
            "model_handler": self.description.name,
            "model_handler_type": ", ".join(
                sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
            ),
            **({"model_path": path} if path else {}),
        }

    def version(self, batching: BatchConfig, pipeline: beam.Pipeline) -> ModelVersion:
        """The one model, as the workers of a pipeline load it."""
        [handler] = self.handlers
        return ModelVersion(
            handler,
            fingerprint(handler),
            execution=self._execution_in(pipeline),
            batching=batching,
            run=run_of(pipeline),
        )

    def predict(
        self,
        gather: Gather,
        edge: Edge[Any],
        batching: BatchConfig,
        elements: beam.PCollection[Any],
        policy: FailurePolicy,
        *,
        keeps_time: bool = True,
    ) -> Any:
        """The step that runs in the workers of a pipeline, a ``beam.ParDo`` of the elements."""
        pipeline, windowing = elements.pipeline, elements.windowing.windowfn
        execution = self._execution_in(pipeline)
        told = self._watching.side_input(pipeline, self.label())
        name = uuid.uuid4().hex
        router: Router
        if self.models is None:
            check_tokens(batching, self.handlers[0])
            version = self.version(batching, pipeline)
            router = SingleModelRouter(version, name, self._watching.polling())
        else:
            if self._watching.pattern is not None:
                raise ConfigurationError(
                    "watch_model_pattern tells one model; with a model per key, pass "
                    "model_metadata_pcoll with lists of KeyModelPathMapping"
                )
            version_of = VersionOf(self.batching, execution, run_of(pipeline))
            models = KeyedModels(self.models, version_of)
            router = KeyedRouter(models, name, may_change=told is not None)
        namespace: str | None = self._metrics_namespace or self.description.metrics_namespace
        for handler in self.handlers:
            override = getattr(handler, "override_metrics", None)
            if override is not None and override(namespace):
                namespace = None
        policy = dataclasses.replace(policy, refuses_nonfinite=execution.on_nonfinite == "fail")
        kind = InferenceDoFn
        if not isinstance(windowing, _ONE_WINDOW_EACH):
            kind = OnePerWindow
        elif not keeps_time and isinstance(windowing, GlobalWindows) and told is None:
            kind = AtTheEnd
        work = Work(
            gather, edge, router, self._inference_args, namespace, policy, execution.in_flight
        )
        built = built_with(self.handlers)
        dofn = kind(Carried(work, built, execution.on_version_mismatch))
        par_do = beam.ParDo(dofn) if told is None else beam.ParDo(dofn, told)
        return par_do.with_resource_hints(**self.description.resource_hints)

    def _execution_in(self, pipeline: beam.Pipeline) -> Execution:
        if self._execution.threads is not None or self._execution.copies is not None:
            return self._execution
        return dataclasses.replace(self._execution, threads=share_of_threads(pipeline))

    def _model_path(self) -> str | None:
        path = None if self.models else getattr(self.handlers[0], "model_path", None)
        return str(path) if path else None


class InferenceTransform(beam.PTransform[Any, Any]):
    """A transform that runs a :class:`Step`."""

    _step: Step

    def with_exception_handling(
        self,
        exc_class: type[Exception] | tuple[type[Exception], ...] = Exception,
        threshold: float | None = 1.0,
        timeout: float | None = None,
        isolate: bool = True,
    ) -> Self:
        """Give back ``(results, RunInferenceDLQ)``: failed examples leave as dead letters.

        A call of the model that raises is divided until exactly the examples to blame are found,
        and every other one has its prediction. A model that cannot be loaded fails the run.

        Args:
            exc_class: exceptions that make dead letters; any other fails the bundle.
            threshold: the share of the examples that may fail before the run does, of a bounded
                collection in all, of an unbounded one in each window of 100 examples or more.
                Where it is bounded, and every example failed, the run fails too. None to go on
                whatever fails.
            timeout: seconds for a load and for a call of the model, which then runs in a process
                of its own, see ``Execution(timeout=...)``.
            isolate: False to make every example of a failing call a dead letter without more calls.

        Raises:
            ConfigurationError: an argument out of range.
        """
        self._step.with_exception_handling(exc_class, threshold, timeout, isolate)
        return self

    def default_label(self) -> str:
        """``<transform>(<handler>: <model's base name>)``, so that two models need no labels."""
        return self._step.label()

    def annotations(self) -> dict[str, Any]:
        """What a runner may show of the step."""
        return {**super().annotations(), **self._step.annotations()}


RESERVED = frozenset(
    {
        "batching",
        "execution",
        "features",
        "inference_args",
        "keep",
        "key",
        "metrics_namespace",
        "model_metadata_pcoll",
        "output",
        "output_type",
        "preserve_timestamps",
        "refresh",
        "refresh_interval_s",
        "watch_model_pattern",
    }
)


def _misplaced_option(transform: str, option: str) -> str:
    replacement = beam_replacement(option)
    if replacement is not None:
        return f"{transform} has no option {option!r}: write {replacement}"
    return (
        f"{transform} has no option {option!r}; options of a handler go to its constructor, or to "
        f"{transform}('name', {option}=...) with the handler's name"
    )
