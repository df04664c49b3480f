"""Read what a handler, of whatever class, says about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runinference.config import BatchConfig
from runinference.errors import ConfigurationError
from runinference.handler import Handler

__all__ = [
    "HandlerDescription",
    "check_handler",
    "describe",
    "describe_together",
    "handler_name",
    "is_handler",
]


@dataclasses.dataclass(frozen=True)
class HandlerDescription:
    """What a handler says about how to run it, read once, when the pipeline is built."""

    name: str
    batching: BatchConfig
    metrics_namespace: str
    resource_hints: Mapping[str, Any]
    preprocess_fns: Sequence[Callable[[Any], Any]]
    postprocess_fns: Sequence[Callable[[Any], Any]]
    skips_batching: bool


def describe(handler: Handler) -> HandlerDescription:
    """Read the optional methods of a handler; one that lacks them has the defaults."""

    def ask(method: str, default: Any) -> Any:
        found = getattr(handler, method, None)
        return default if found is None else found()

    name = handler_name(handler)
    return HandlerDescription(
        name=name,
        batching=BatchConfig.from_beam(
            ask("batch_elements_kwargs", {}), f"{name}.batch_elements_kwargs()"
        ),
        metrics_namespace=ask("get_metrics_namespace", "RunInference"),
        resource_hints=ask("get_resource_hints", {}),
        preprocess_fns=tuple(ask("get_preprocess_fns", ())),
        postprocess_fns=tuple(ask("get_postprocess_fns", ())),
        skips_batching=bool(ask("should_skip_batching", False)),
    )


def describe_together(handlers: Sequence[Handler]) -> HandlerDescription:
    """What holds for a step with a model per key, whose bounds of a call are each model's own.

    Raises:
        ConfigurationError: one whose elements are batches already.
    """
    each = [describe(handler) for handler in handlers]
    for description in each:
        if description.skips_batching:
            raise ConfigurationError(
                f"{description.name} says with_no_batching(), but a batch of examples with a model "
                "per key is made by the step: leave it out"
            )
    hints: dict[str, Any] = {}
    for description in each:
        hints |= description.resource_hints
    return HandlerDescription(
        name="a model per key",
        batching=BatchConfig(),
        metrics_namespace=each[0].metrics_namespace if each else "RunInference",
        resource_hints=hints,
        preprocess_fns=(),
        postprocess_fns=(),
        skips_batching=False,
    )


def is_handler(candidate: Any) -> bool:
    """Whether an object (or a class, whose instances then are) has the two methods."""
    return all(callable(getattr(candidate, m, None)) for m in ("load_model", "run_inference"))


def check_handler(candidate: Any, where: str) -> Handler:
    """The candidate itself, if it is a handler.

    Raises:
        ConfigurationError: a class instead of an object, or an object that lacks a method.
    """
    if isinstance(candidate, type):
        raise ConfigurationError(
            f"{where} was given the class {candidate.__qualname__}: give it an object, "
            f"{candidate.__name__}(...), or a handler's name with its options"
        )
    if not is_handler(candidate):
        lacking = [m for m in ("load_model", "run_inference") if not hasattr(candidate, m)]
        raise ConfigurationError(
            f"{where} was given {candidate!r:.100}, which is no handler: it has no "
            f"{'() and no '.join(lacking)}()"
        )
    handler: Handler = candidate
    return handler


def handler_name(handler: Any) -> str:
    """The name that the registry knows the handler by, else its class."""
    name = getattr(handler, "registered_name", None)
    return name if isinstance(name, str) else type(handler).__qualname__.rpartition(".")[2]
