"""A handler of this project's as one that Beam's own RunInference takes."""

from __future__ import annotations

import dataclasses
import functools
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    KeyModelMapping,
    MaybeKeyedModelHandler,
    ModelHandler,
    PredictionResult,
)

from runinference.batch import RowBatch
from runinference.batching import as_beam_kwargs, check_tokens
from runinference.beams import Unwrapped, byte_counter, unwrap
from runinference.config import BatchConfig, Execution
from runinference.description import check_handler, describe, describe_together
from runinference.errors import ConfigurationError
from runinference.failures import FailurePolicy
from runinference.handler import Handler
from runinference.hooks import Observers
from runinference.limits import Limits
from runinference.loader import fingerprint, load_model
from runinference.results import PredictionResult as OwnResult
from runinference.solve import solve
from runinference.versions import ModelVersion

__all__ = ["for_beam"]


def for_beam(
    handler: Any,
    *,
    batching: BatchConfig | None = None,
    execution: Execution | None = None,
) -> ModelHandler[Any, Any, Any]:
    """A handler, keyed or not, for ``apache_beam.ml.inference.base.RunInference``.

    Its results are Beam's ``PredictionResult``; its functions, keys and defaults for batching hold.

    Args:
        handler: a handler of this project's, or a ``KeyedModelHandler`` of one or of several.
        batching: what ``RunInference(..., batching=...)`` takes here.
        execution: what ``RunInference(..., execution=...)`` takes here.

    Raises:
        ConfigurationError: no handler, or options that cannot work together.
    """
    unwrapped = unwrap(handler)
    told = _Told(batching or BatchConfig(), execution or Execution(), unwrapped.keyed)
    if unwrapped.models is not None:
        return _by_key(unwrapped, told)
    inner: Handler = check_handler(unwrapped.handler, "for_beam")
    description = describe(inner)
    keyed = unwrapped.keyed
    skips_batching = unwrapped.skips_batching or description.skips_batching
    adapted: ModelHandler[Any, Any, Any] = _ForBeam(inner, told)
    if keyed is not None:
        adapted = (KeyedModelHandler if keyed == "always" else MaybeKeyedModelHandler)(adapted)
    # With elements that are batches, the handler's own functions get whole batches.
    before = [_for_values(f, None if skips_batching else keyed) for f in description.preprocess_fns]
    after = [_for_values(f, keyed) for f in description.postprocess_fns]
    for function in reversed([*unwrapped.preprocess_fns, *before]):
        adapted = adapted.with_preprocess_fn(function)
    for function in [*after, *unwrapped.postprocess_fns]:
        adapted = adapted.with_postprocess_fn(function)
    return adapted.with_no_batching() if skips_batching else adapted


@dataclasses.dataclass(frozen=True)
class _Told:
    """How to run the model, as it was told to ``for_beam``."""

    batching: BatchConfig
    execution: Execution
    keyed: str | None

    def __post_init__(self) -> None:
        if self.execution.in_flight > 1:
            raise ConfigurationError(
                f"for_beam: Execution(in_flight={self.execution.in_flight}) has no effect in "
                "Beam's RunInference, which waits for each batch: leave it out"
            )


def _by_key(unwrapped: Unwrapped, told: _Told) -> ModelHandler[Any, Any, Any]:
    """Beam's declaration of a model per key."""
    models = unwrapped.models
    assert models is not None
    around = describe_together(models.handlers())
    if models.models_for is not None or models.default is not None:
        raise ConfigurationError(
            "for_beam: Beam's KeyedModelHandler has neither models_for nor default: map every key"
        )
    if (
        unwrapped.preprocess_fns
        or unwrapped.postprocess_fns
        or around.preprocess_fns
        or around.postprocess_fns
        or unwrapped.skips_batching
    ):
        raise ConfigurationError(
            "for_beam: Beam's RunInference fails where functions stand around a model per key: map "
            "before and after it"
        )
    mappings = [
        KeyModelMapping(list(mapping.keys), _ForBeam(mapping.handler, told))
        for mapping in models.mappings
    ]
    return KeyedModelHandler(mappings, max_models_per_worker_hint=models.max_models)


class _ForBeam(ModelHandler[Any, PredictionResult, "_Model"]):
    """What loads and asks the model; Beam's own wrappers bring the keys and the functions."""

    def __init__(self, handler: Handler, told: _Told) -> None:
        super().__init__()
        self._description = describe(handler)
        batching = told.batching.over(self._description.batching)
        check_tokens(batching, handler)
        self._keyed = told.keyed
        self._version = ModelVersion(
            handler,
            fingerprint(handler),
            execution=told.execution,
            batching=batching,
            run=uuid.uuid4().hex,
        )

    def __str__(self) -> str:
        return self._description.name

    def load_model(self) -> _Model:
        """The handler's model with what bounds its calls."""
        return _Model(self._version)

    def run_inference(
        self, batch: Sequence[Any], model: _Model, inference_args: dict[str, Any] | None = None
    ) -> list[PredictionResult]:
        """One result per example, in order."""
        return model.predict(batch, inference_args)

    def update_model_path(self, model_path: str | None = None) -> None:
        """Load from another path from now on."""
        if model_path is not None:
            self._version = dataclasses.replace(self._version, path=model_path)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """What ``beam.BatchElements`` understands; the rest cuts its batches into calls."""
        return as_beam_kwargs(self._version.batching, timed=False, keyed=self._keyed)

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Bytes of data in a batch."""
        return byte_counter(self._version.handler)(batch)

    def get_metrics_namespace(self) -> str:
        """The handler's own."""
        return self._description.metrics_namespace

    def get_resource_hints(self) -> dict[str, Any]:
        """The handler's own."""
        return dict(self._description.resource_hints)

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """As the handler does; one that has no such method takes any."""
        validate = getattr(self._version.handler, "validate_inference_args", None)
        if validate is not None:
            validate(inference_args)

    def override_metrics(self, metrics_namespace: str = "") -> bool:
        """As the handler says."""
        override = getattr(self._version.handler, "override_metrics", None)
        return override is not None and bool(override(metrics_namespace))


class _Model:
    """A loaded model with what bounds its calls."""

    def __init__(self, version: ModelVersion) -> None:
        self._model = load_model(version)
        self._limits = Limits(version.batching)
        self._observers = Observers()
        refuses_nonfinite = version.execution.on_nonfinite == "fail"
        self._policy = FailurePolicy(refuses_nonfinite=refuses_nonfinite)
        # Beam tells nobody when it lets go of a model.
        weakref.finalize(self, self._model.close)

    def predict(
        self, examples: Sequence[Any], inference_args: dict[str, Any] | None
    ) -> list[PredictionResult]:
        """Beam's results, one per example, in order."""
        batch = RowBatch(list(examples))
        solved = solve(
            batch, self._model, self._limits, inference_args, self._observers, self._policy
        )
        model_id = self._model.model_id
        results = zip(batch.examples, batch.merge(solved.parts), strict=True)
        return [
            PredictionResult(prediction[0], prediction[1], prediction[2] or model_id)
            if isinstance(prediction, OwnResult)
            else PredictionResult(example, prediction, model_id)
            for example, prediction in results
        ]


def _for_values(function: Callable[[Any], Any], keyed: str | None) -> Callable[[Any], Any]:
    return function if keyed is None else functools.partial(_on_value, function, keyed)


def _on_value(function: Callable[[Any], Any], keyed: str, element: Any) -> Any:
    if keyed == "maybe" and not (isinstance(element, tuple) and len(element) == 2):
        return function(element)
    key, value = element
    return key, function(value)
