"""From BatchConfig to beam.BatchElements, and the combinations that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apache_beam.transforms import window

from runinference.config import BatchConfig
from runinference.description import handler_name
from runinference.errors import ConfigurationError
from runinference.handler import Handler

__all__ = ["as_beam_kwargs", "check_batching", "check_in_flight", "check_tokens", "gathered_size"]

# BatchElements' own default, which a larger min_size has to lift.
_DEFAULT_MAX_SIZE = 10_000
# The last calls of those that come together have fewer and fewer beside them, and the next ones
# wait for all. 1,024 calls of 20 to 100 ms, 16 at a time, took 7.6 s with one round and 5.4 s with
# four.
_ROUNDS = 4


def check_batching(
    config: BatchConfig,
    given: BatchConfig,
    skips_batching: bool,
    windowing: Any,
) -> None:
    """Refuse options that would have no effect, or a wrong one.

    Args:
        config: what will be in force: ``given`` over the handler's own.
        given: what was told to the transform.
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
    if config.max_wait_s is not None and not isinstance(windowing.windowfn, window.GlobalWindows):
        raise ConfigurationError(
            f"BatchConfig(max_wait_s={config.max_wait_s}) holds examples across bundles, and in "
            f"windows other than the global one ({windowing.windowfn}) its results could come "
            "after the end of their window and be dropped as late: leave max_wait_s out, or window "
            "after RunInference, with an allowed_lateness above what the watermark advances while "
            "examples wait"
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


def check_in_flight(
    config: BatchConfig, given: BatchConfig, in_flight: int, skips_batching: bool = False
) -> None:
    """Refuse several calls at a time where nobody says how large each is.

    What is timed then is not one call: a size that adapts to it would grow without end.

    Args:
        config: what will be in force: ``given`` over the handler's own.
        given: what was told to the transform.
        in_flight: how many calls are made at a time.
        skips_batching: whether elements are batches already.

    Raises:
        ConfigurationError: with what to do.
    """
    told = f"Execution(in_flight={in_flight})"
    if in_flight == 1:
        return
    if skips_batching:
        raise ConfigurationError(
            f"{told} has no effect after with_no_batching(): each element is one call; drop one of "
            "the two"
        )
    if config.max_size is None:
        raise ConfigurationError(
            f"{told} needs to know how large a call is: add "
            "batching=BatchConfig(max_size=...), or batch_elements_kwargs() to the handler"
        )
    for field in given.given():
        if field.startswith(("min_size", "target_")):
            raise ConfigurationError(
                f"BatchConfig({field}=...) has no effect beside {told}, where calls are of "
                "max_size: drop one of the two"
            )


def gathered_size(max_size: int, in_flight: int) -> int:
    """How many examples come together, to be cut into calls of at most ``max_size``."""
    return max_size if in_flight == 1 else max_size * in_flight * _ROUNDS


def as_beam_kwargs(
    config: BatchConfig, *, timed: bool = False, keyed: str | None = None, in_flight: int = 1
) -> dict[str, Any]:
    """Arguments of ``beam.BatchElements``; what it would ignore is left to the worker's cut."""
    kwargs: dict[str, Any] = {
        "min_batch_size": config.min_size,
        "max_batch_size": config.max_size,
        "max_batch_duration_secs": config.max_wait_s,
        "target_batch_overhead": config.target_overhead,
        "target_batch_duration_secs": config.target_duration_s,
        "target_batch_duration_secs_including_fixed_cost": config.target_duration_with_overhead_s,
    }
    if in_flight > 1:
        assert config.max_size is not None  # check_in_flight has made sure
        together = gathered_size(config.max_size, in_flight)
        kwargs = {
            "min_batch_size": together,
            "max_batch_size": together,
            "max_batch_duration_secs": config.max_wait_s,
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
