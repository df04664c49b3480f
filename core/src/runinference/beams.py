"""What this package knows of Beam's own ``ml.inference``: its wrappers, its results, its sizes.

Beam's ``ml.inference.base`` is never imported for this: it costs seconds and pulls torch in, and
whoever has a handler of Beam's has paid for it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from runinference.keyed import (
    KeyedModelHandler,
    KeyModelMapping,
    MaybeKeyedModelHandler,
    ModelsByKey,
)
from runinference.rendering import owned
from runinference.results import PredictionResult, any_is
from runinference.sizes import num_bytes

__all__ = ["Unwrapped", "byte_counter", "own_results", "unwrap"]


@dataclasses.dataclass(frozen=True)
class Unwrapped:
    """A handler, and what was declared around it.

    Attributes:
        handler: loads and asks the model; what it says about itself still holds.
        keyed: None, ``"always"`` or ``"maybe"``: whether examples come in pairs with a key.
        models: where there is a model per key, in the place of ``handler``.
        preprocess_fns: functions of whole elements, before those of the handler, in order.
        postprocess_fns: functions of whole elements, after those of the handler, in order.
        skips_batching: whether elements are batches already.
    """

    handler: Any
    keyed: str | None = None
    models: ModelsByKey | None = None
    preprocess_fns: tuple[Callable[[Any], Any], ...] = ()
    postprocess_fns: tuple[Callable[[Any], Any], ...] = ()
    skips_batching: bool = False


def unwrap(handler: Any) -> Unwrapped:
    """The handler that loads the model, and the keys and functions around it.

    They are declared by this package's keyed handlers, or by the handlers around handlers that
    Beam makes.
    """
    if isinstance(handler, KeyedModelHandler | MaybeKeyedModelHandler):
        return Unwrapped(
            handler.handler,
            "maybe" if isinstance(handler, MaybeKeyedModelHandler) else "always",
            None if isinstance(handler, MaybeKeyedModelHandler) else handler.models,
            tuple(handler.get_preprocess_fns()),
            tuple(handler.get_postprocess_fns()),
            handler.should_skip_batching(),
        )
    beams = _beams_module()
    if beams is None or not isinstance(handler, beams.ModelHandler):
        return Unwrapped(handler)
    outer = _without_functions(handler, beams)
    if isinstance(outer.handler, beams.MaybeKeyedModelHandler):
        inner = _without_functions(outer.handler._unkeyed, beams)
        skips = outer.skips_batching or inner.skips_batching
        return dataclasses.replace(
            outer, handler=inner.handler, keyed="maybe", skips_batching=skips
        )
    if isinstance(outer.handler, beams.KeyedModelHandler):
        if not outer.handler._single_model:
            models = _models_by_key(outer.handler)
            return dataclasses.replace(outer, handler=None, keyed="always", models=models)
        inner = _without_functions(outer.handler._unkeyed, beams)
        return dataclasses.replace(outer, handler=inner.handler, keyed="always")
    return outer


def own_results(predictions: list[Any]) -> list[Any]:
    """The same, but Beam's results as this package's, none of which holds on to its batch's memory.

    Beam's torch handlers answer with views of the batch's outputs, and each pickles as the whole.
    """
    beams = _beams_module()
    if beams is None or not any_is(predictions, beams.PredictionResult):
        return predictions
    return [_own(p) if isinstance(p, beams.PredictionResult) else p for p in predictions]


def byte_counter(handler: Any) -> Callable[[Sequence[Any]], int]:
    """What counts the bytes of a batch: the handler's own method, unless it is one of Beam's.

    Those pickle the batch, count one element of each array, or iterate over a tensor's numbers.
    """
    method = getattr(handler, "get_num_bytes", num_bytes)
    is_beams = str(getattr(method, "__module__", "")).startswith("apache_beam.")
    count: Callable[[Sequence[Any]], int] = num_bytes if is_beams else method
    return count


def _models_by_key(handler: Any) -> ModelsByKey:
    """Beam's declaration of a model per key; which model is whose, it keeps by the first key."""
    keys: dict[Any, list[Any]] = {}
    for key, first in handler._key_to_id_map.items():
        keys.setdefault(first, []).append(key)
    mappings = [
        KeyModelMapping(keys[first], inner) for first, inner in handler._id_to_mh_map.items()
    ]
    return ModelsByKey(tuple(mappings), None, None, handler._max_models_per_worker_hint)


def _beams_module() -> Any:
    return sys.modules.get("apache_beam.ml.inference.base")


def _own(result: Any) -> PredictionResult[Any, Any]:
    example, inference, model_id = result
    if isinstance(inference, dict):
        inference = {key: owned(value) for key, value in inference.items()}
    else:
        inference = owned(inference)
    return PredictionResult(example, inference, model_id)


def _without_functions(handler: Any, beams: Any) -> Unwrapped:
    """Without what Beam's ``with_preprocess_fn`` and its like have put around a handler."""
    before: list[Callable[[Any], Any]] = []
    after: list[Callable[[Any], Any]] = []
    skips_batching = False
    while True:
        if isinstance(handler, beams._PreProcessingModelHandler):
            before.append(handler._preprocess_fn)
        elif isinstance(handler, beams._PostProcessingModelHandler):
            after.insert(0, handler._postprocess_fn)
        elif isinstance(handler, beams._PrebatchedModelHandler):
            skips_batching = True
        else:
            return Unwrapped(handler, None, None, tuple(before), tuple(after), skips_batching)
        handler = handler._base
