"""What RunInference and RunTableInference share: one handler, checked, described and named."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam

from runinference.config import BatchConfig, Execution, beam_replacement
from runinference.description import HandlerDescription, check_handler, describe
from runinference.handler import Handler
from runinference.keyed import KeyedModelHandler, MaybeKeyedModelHandler
from runinference.loader import fingerprint
from runinference.model import ModelVersion
from runinference.registry import create_handler
from runinference.router import SingleModelRouter
from runinference.threads import share_of_threads
from runinference.worker import Edge, InferenceDoFn

__all__ = ["Keyed", "Step"]

Keyed = KeyedModelHandler | MaybeKeyedModelHandler


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
    ) -> None:
        self.transform = transform
        if isinstance(handler, str):
            handler = create_handler(handler, _reserved=RESERVED, **options)
        elif options:
            raise TypeError(_misplaced_option(transform, next(iter(options))))
        self.keyed: str | None = None
        self.outer_preprocess_fns: Sequence[Callable[[Any], Any]] = ()
        self.outer_postprocess_fns: Sequence[Callable[[Any], Any]] = ()
        self.outer_skips_batching = False
        if isinstance(handler, Keyed):
            self.keyed = "maybe" if isinstance(handler, MaybeKeyedModelHandler) else "always"
            self.outer_preprocess_fns = handler.get_preprocess_fns()
            self.outer_postprocess_fns = handler.get_postprocess_fns()
            self.outer_skips_batching = handler.should_skip_batching()
            handler = handler.handler
        self.handler = check_handler(handler, transform)
        self.description: HandlerDescription = describe(self.handler)
        self.batching = batching
        self._execution = execution
        self._inference_args = inference_args
        self._metrics_namespace = metrics_namespace
        validate = getattr(self.handler, "validate_inference_args", None)
        if validate is not None:
            validate(inference_args)

    def label(self) -> str:
        """The transform's name with the handler's and the model's."""
        path = getattr(self.handler, "model_path", None)
        model = f": {posixpath.basename(str(path).rstrip('/'))}" if path else ""
        return f"{self.transform}({self.description.name}{model})"

    def annotations(self) -> dict[str, Any]:
        """What a runner may show of the step."""
        kind = type(self.handler)
        path = getattr(self.handler, "model_path", None)
        return {
            "model_handler": self.description.name,
            "model_handler_type": f"{kind.__module__}.{kind.__qualname__}",
            **({"model_path": str(path)} if path else {}),
        }

    def predict(
        self, edge: Edge[Any], batching: BatchConfig, pipeline: beam.Pipeline
    ) -> beam.PTransform[Any, Any]:
        """The step that runs in the workers of a pipeline."""
        execution = self._execution
        if execution.threads is None:
            execution = dataclasses.replace(execution, threads=share_of_threads(pipeline))
        version = ModelVersion(
            self.handler,
            fingerprint(self.handler),
            execution=execution,
            batching=batching,
        )
        namespace: str | None = self._metrics_namespace or self.description.metrics_namespace
        override = getattr(self.handler, "override_metrics", None)
        if override is not None and override(namespace):
            namespace = None
        dofn = InferenceDoFn(edge, SingleModelRouter(version), self._inference_args, namespace)
        return beam.ParDo(dofn).with_resource_hints(**self.description.resource_hints)


RESERVED = frozenset(
    {
        "batching",
        "execution",
        "features",
        "inference_args",
        "keep",
        "metrics_namespace",
        "output",
        "preserve_timestamps",
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
