"""Examples with keys: declarations that the transform reads; no handler around a handler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from runinference.description import check_handler
from runinference.errors import ConfigurationError
from runinference.handler import Handler, ProcessingFunctions

__all__ = [
    "KeyModelMapping",
    "KeyModelPathMapping",
    "KeyedModelHandler",
    "MaybeKeyedModelHandler",
    "ModelsByKey",
]


@dataclasses.dataclass(frozen=True)
class KeyModelMapping:
    """The keys whose examples one model predicts.

    Attributes:
        keys: at least one, each hashable; the first one names the model in metrics.
        handler: loads the model.

    Raises:
        ConfigurationError: no keys, one that is not hashable, or not a handler.
    """

    keys: Sequence[Hashable]
    handler: Handler

    def __post_init__(self) -> None:
        keys = [self.keys] if isinstance(self.keys, str | bytes) else list(self.keys)
        if isinstance(self.keys, str | bytes) or not keys:
            raise ConfigurationError(
                f"KeyModelMapping(keys={self.keys!r:.100}): a list of at least one key is needed"
            )
        for key in keys:
            if not isinstance(key, Hashable):
                raise ConfigurationError(
                    f"KeyModelMapping: key {key!r:.100} is not hashable, as a key has to be"
                )
        check_handler(self.handler, "KeyModelMapping")


class KeyModelPathMapping(NamedTuple):
    """In a list, an element of a side input that tells the model of some keys from now on.

    Attributes:
        keys: of one model; any that are left out keep it.
        update_path: the model's path, which its handler's ``update_model_path`` takes.
        model_id: for a reader.
    """

    keys: Sequence[Hashable]
    update_path: str
    model_id: str = ""


@dataclasses.dataclass(frozen=True)
class ModelsByKey:
    """Which handler loads the model of a key.

    Attributes:
        mappings: keys that are known when the pipeline is built.
        models_for: makes the handler of any other key, once per worker; may raise LookupError.
        default: the handler of keys that neither knows.
        max_models: how many models a process holds at a time; no bound where None.
    """

    mappings: tuple[KeyModelMapping, ...]
    models_for: Callable[[Any], Handler] | None
    default: Handler | None
    max_models: int | None

    def handlers(self) -> list[Handler]:
        """Those that are known when the pipeline is built."""
        known = [mapping.handler for mapping in self.mappings]
        return known if self.default is None else [*known, self.default]


class KeyedModelHandler(ProcessingFunctions):
    """From ``(key, example)`` to ``(key, PredictionResult)``, with one model or a model per key.

    With a model per key, a batch is grouped by model, not by key; models are loaded when their
    first example comes, and stay loaded until others need their place.

    Preprocess and postprocess functions added here see the pair; those of an inner handler see its
    examples and results alone.

    Args:
        handler: predicts the examples of every key; or a list of :class:`KeyModelMapping`.
        models_for: makes the handler of a key that no mapping has; called once per key and worker.
            Raise LookupError for a key without a model.
        default: the handler of keys without a model of their own.
        max_models_per_worker_hint: how many models a process holds at most; the one used longest
            ago makes room, never one that is predicting.

    Raises:
        ConfigurationError: not a handler, a key twice, or options that cannot work together.
    """

    def __init__(
        self,
        handler: Handler | Sequence[KeyModelMapping] | None = None,
        *,
        models_for: Callable[[Any], Handler] | None = None,
        default: Handler | None = None,
        max_models_per_worker_hint: int | None = None,
    ) -> None:
        self.handler: Handler | None = None
        self.models: ModelsByKey | None = None
        is_list = isinstance(handler, list | tuple)
        if handler is not None and not is_list:
            if any(o is not None for o in (models_for, default, max_models_per_worker_hint)):
                raise ConfigurationError(
                    "KeyedModelHandler: models_for, default and max_models_per_worker_hint are for "
                    "a model per key: pass a list of KeyModelMapping, or leave them out"
                )
            self.handler = check_handler(handler, type(self).__name__)
            return
        mappings = tuple(handler) if isinstance(handler, list | tuple) else ()
        _check_mappings(mappings, models_for, default)
        _check_bound(max_models_per_worker_hint)
        self.models = ModelsByKey(mappings, models_for, default, max_models_per_worker_hint)


class MaybeKeyedModelHandler(ProcessingFunctions):
    """As :class:`KeyedModelHandler` for elements that are pairs; others go through without a key.

    A tuple of two is a pair, anything else an example.

    Args:
        handler: predicts the examples; never sees the keys.

    Raises:
        ConfigurationError: not a handler.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = check_handler(handler, type(self).__name__)


def _check_mappings(mappings: Sequence[Any], models_for: Any, default: Handler | None) -> None:
    if not mappings and models_for is None:
        raise ConfigurationError(
            "KeyedModelHandler needs a handler, a list of KeyModelMapping, or models_for="
        )
    if models_for is not None and not callable(models_for):
        raise ConfigurationError(
            f"KeyedModelHandler(models_for={models_for!r:.100}): a function from a key to a "
            "handler is needed"
        )
    if default is not None:
        check_handler(default, "KeyedModelHandler(default=...)")
    seen: set[Hashable] = set()
    for mapping in mappings:
        if not isinstance(mapping, KeyModelMapping):
            raise ConfigurationError(
                f"KeyedModelHandler takes a list of KeyModelMapping, but one is {mapping!r:.100}"
            )
        for key in mapping.keys:
            if key in seen:
                raise ConfigurationError(f"KeyedModelHandler: key {key!r} has two models")
            seen.add(key)


def _check_bound(bound: int | None) -> None:
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 1):
        raise ConfigurationError(
            f"KeyedModelHandler(max_models_per_worker_hint={bound!r}): at least 1 is needed"
        )
