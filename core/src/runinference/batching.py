"""From BatchConfig to beam.BatchElements, and the combinations that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apache_beam.transforms import window

from runinference.config import BatchConfig
from runinference.description import handler_name
from runinference.errors import ConfigurationError
from runinference.handler import Handler

__all__ = ["as_beam_kwargs", "check_batching", "check_tokens"]

# BatchElements' own default, which a larger min_size has to lift.
_DEFAULT_MAX_SIZE = 10_000


def check_batching(
    config: BatchConfig,
    given: BatchConfig,
    handler: Handler,
    skips_batching: bool,
    windowing: Any,
) -> None:
    """Refuse options that would have no effect, or a wrong one.

    Args:
        config: what will be in force: ``given`` over the handler's own.
        given: what was told to the transform.
        handler: the handler.
        skips_batching: whether elements are batches already.
        windowing: of the input.

    Raises:
        ConfigurationError: with the reason.
    """
    if skips_batching and given.given():
        raise ConfigurationError(
            f"batching=BatchConfig({given.given()[0]}=...) has no effect after with_no_batching(): "
            "each element is a batch as it is; drop one of the two"
        )
    check_tokens(config, handler)
    if config.max_wait_s is not None and not isinstance(windowing.windowfn, window.GlobalWindows):
        raise ConfigurationError(
            f"BatchConfig(max_wait_s={config.max_wait_s}) holds examples across bundles, and in "
            f"windows other than the global one ({windowing.windowfn}) its results could come "
            "after the end of their window and be dropped as late: leave max_wait_s out, or window "
            "after RunInference"
        )


def check_tokens(config: BatchConfig, handler: Handler) -> None:
    """Refuse a token budget where nobody can tell how long an example is.

    Raises:
        ConfigurationError: with the two ways on.
    """
    if (
        config.max_tokens is not None
        and config.length_fn is None
        and getattr(handler, "length", None) is None
    ):
        raise ConfigurationError(
            f"BatchConfig(max_tokens={config.max_tokens}) needs each example's length, and "
            f"{handler_name(handler)} has no length(): add length_fn= to the BatchConfig, or "
            "define length(example) in the handler"
        )


def as_beam_kwargs(config: BatchConfig, *, timed: bool, keyed: str | None) -> dict[str, Any]:
    """Arguments of ``beam.BatchElements``; what it would ignore is left to the worker's cut."""
    kwargs: dict[str, Any] = {
        "min_batch_size": config.min_size,
        "max_batch_size": config.max_size,
        "max_batch_duration_secs": config.max_wait_s,
        "target_batch_overhead": config.target_overhead,
        "target_batch_duration_secs": config.target_duration_s,
        "target_batch_duration_secs_including_fixed_cost": config.target_duration_with_overhead_s,
    }
    if config.min_size and config.max_size is None:
        kwargs["max_batch_size"] = max(_DEFAULT_MAX_SIZE, config.min_size)
    if config.max_wait_s is not None and config.length_boundaries is not None:
        assert config.length_fn is not None  # BatchConfig has checked it
        kwargs["length_fn"] = _OfExample(config.length_fn, timed=timed, keyed=keyed)
        kwargs["bucket_boundaries"] = list(config.length_boundaries)
    return {name: value for name, value in kwargs.items() if value is not None}


class _OfExample:
    """A function of an example, applied to what is batched: with its time, with its key."""

    def __init__(self, function: Callable[[Any], int], *, timed: bool, keyed: str | None) -> None:
        self._function = function
        self._timed = timed
        self._keyed = keyed

    def __call__(self, element: Any) -> int:
        value = element[0] if self._timed else element
        is_pair = self._keyed == "always" or (
            self._keyed == "maybe" and isinstance(value, tuple) and len(value) == 2
        )
        return self._function(value[1] if is_pair else value)
