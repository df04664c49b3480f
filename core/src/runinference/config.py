"""How to run a model, apart from what the model is: batch sizes and the process it runs in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from runinference import policy
from runinference.errors import ConfigurationError

__all__ = ["ROW_ONLY", "BatchConfig", "Execution", "beam_replacement"]

# Beam's name of each field: what `batch_elements_kwargs` of a handler returns and what a handler of
# Beam's own takes. `element_size_fn` has rules of its own, see `BatchConfig.from_beam`.
_BEAM_NAMES = {
    "min_batch_size": "min_size",
    "max_batch_size": "max_size",
    "max_batch_duration_secs": "max_wait_s",
    "max_batch_weight": "max_weight",
    "element_size_fn": "weight_fn",
    "length_fn": "length_fn",
    "batch_length_fn": "length_fn",
    "bucket_boundaries": "length_boundaries",
    "batch_bucket_boundaries": "length_boundaries",
    "target_batch_overhead": "target_overhead",
    "target_batch_duration_secs": "target_duration_s",
    "target_batch_duration_secs_including_fixed_cost": "target_duration_with_overhead_s",
}

ROW_ONLY = frozenset(
    {
        "length_boundaries",
        "length_fn",
        "max_wait_s",
        "max_weight",
        "min_size",
        "target_duration_s",
        "target_duration_with_overhead_s",
        "target_overhead",
        "weight_fn",
    }
)
"""Fields of BatchConfig that say how single examples are collected, and nothing about tables."""

_DEFAULT_LENGTH_BOUNDARIES = (16, 32, 64, 128, 256, 512)
_BEAM_DEFAULT_MAX_SIZE = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How examples are grouped into calls of the model. A field left at None is not set.

    Args:
        min_size: the smallest number of examples that the search for the best size tries.
        max_size: the largest number of examples (rows, for tables) in one call.
        max_wait_s: seconds to hold examples across bundles until a batch is full; in the global
            window alone, since the watermark may pass examples that are held.
        max_weight: the largest sum of weights in one call; an example heavier than it goes alone.
        weight_fn: an example's weight, in a unit of one's own.
        max_tokens: the largest ``longest example x number of examples`` in one call, counted in
            what the handler's ``length`` (or ``length_fn``) returns; a batch is sorted by length
            and cut at it, and an example longer than it goes alone. Where it is not set and the
            handler tells lengths: 4096, and at most a tenth of padding (or 256 tokens of it).
        length_fn: an example's length; the handler's own ``length`` where it has one.
        length_boundaries: examples of one call fall between two neighbours of these (lower bound
            included); 16, 32, 64, 128, 256, 512 where ``length_fn`` alone is set.
        deduplicate: predict equal examples of a batch once, and give each a copy of the prediction.
        target_overhead: the share of a call's fixed cost that the search for the best size aims at.
        target_duration_s: the time per batch, without its fixed cost, that the search aims at.
        target_duration_with_overhead_s: the same with the fixed cost.

    Raises:
        ConfigurationError: a field out of range, or one that needs another one.
    """

    min_size: int | None = None
    max_size: int | None = None
    max_wait_s: float | None = None
    max_weight: int | None = None
    weight_fn: Callable[[Any], int] | None = None
    max_tokens: int | None = None
    length_fn: Callable[[Any], int] | None = None
    length_boundaries: Sequence[int] | None = None
    deduplicate: bool | None = None
    target_overhead: float | None = None
    target_duration_s: float | None = None
    target_duration_with_overhead_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_size", "max_size", "max_weight", "max_tokens"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ConfigurationError(f"BatchConfig({name}={value!r}): a whole number is needed")
            if value is not None and value < 1:
                raise ConfigurationError(f"BatchConfig({name}={value!r}): at least 1 is needed")
        for name in ("max_wait_s", "target_duration_s", "target_duration_with_overhead_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"BatchConfig({name}={value!r}): seconds above 0 needed")
        if self.deduplicate not in (None, True, False):
            raise ConfigurationError(
                f"BatchConfig(deduplicate={self.deduplicate!r}): True or False is needed"
            )
        if self.target_overhead is not None and not 0 < self.target_overhead <= 1:
            raise ConfigurationError(
                f"BatchConfig(target_overhead={self.target_overhead!r}): a share above 0 and up to "
                "1 is needed"
            )
        if self.min_size and self.max_size and self.min_size > self.max_size:
            raise ConfigurationError(
                f"BatchConfig(min_size={self.min_size}, max_size={self.max_size}): "
                "the smallest size is above the largest"
            )
        if (self.max_weight is None) != (self.weight_fn is None):
            raise ConfigurationError(
                "BatchConfig: max_weight and weight_fn work only together: the one says how much "
                "fits into a call, the other what an example weighs"
            )
        if self.length_boundaries is not None:
            if self.length_fn is None:
                raise ConfigurationError(
                    "BatchConfig(length_boundaries=...) needs length_fn=, "
                    "which says how long an example is"
                )
            boundaries = tuple(self.length_boundaries)
            if not boundaries or boundaries[0] < 1 or sorted(set(boundaries)) != list(boundaries):
                raise ConfigurationError(
                    f"BatchConfig(length_boundaries={self.length_boundaries!r}): "
                    "ascending numbers above 0 are needed"
                )
            object.__setattr__(self, "length_boundaries", boundaries)
        elif self.length_fn is not None and self.max_tokens is None:
            object.__setattr__(self, "length_boundaries", _DEFAULT_LENGTH_BOUNDARIES)

    @classmethod
    def from_beam(cls, kwargs: Mapping[str, Any], source: str) -> BatchConfig:
        """The same settings under Beam's names, as ``batch_elements_kwargs()`` returns them.

        Args:
            kwargs: keyword arguments of ``beam.BatchElements``, and Beam's ``max_batch_weight``.
            source: who gave them, for the error.

        Raises:
            ConfigurationError: a key that is none of Beam's.
        """
        unknown = sorted(set(kwargs) - set(_BEAM_NAMES))
        if unknown:
            raise ConfigurationError(
                f"{source} gives {', '.join(map(repr, unknown))} to beam.BatchElements, which has "
                f"no such option; known: {', '.join(_BEAM_NAMES)}"
            )
        fields = {_BEAM_NAMES[name]: value for name, value in kwargs.items() if value is not None}
        if "weight_fn" in fields and "max_weight" not in fields:
            # beam.BatchElements(element_size_fn=...) counts its sizes in that function's unit.
            fields["max_weight"] = fields.pop("max_size", _BEAM_DEFAULT_MAX_SIZE)
            fields.pop("min_size", None)
        return cls(**fields)

    def over(self, defaults: BatchConfig) -> BatchConfig:
        """This one, with ``defaults`` where a field is not set."""
        chosen = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return dataclasses.replace(defaults, **chosen)

    def given(self) -> list[str]:
        """The names of the fields that are set."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None]


def beam_replacement(name: str) -> str | None:
    """What to write instead of one of Beam's keywords for running a model, or None."""
    if name in _BEAM_NAMES:
        return f"RunInference(..., batching=BatchConfig({_BEAM_NAMES[name]}=...))"
    if name == "env_vars":
        return "RunInference(..., execution=Execution(env_vars=...))"
    if name in ("large_model", "model_copies"):
        return "RunInference(..., execution=Execution(copies=...))"
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how a model runs.

    Args:
        process: run the model in a process of its own, so that a crash of it costs the call alone.
        timeout: seconds for a load, and for a call of the model; what takes longer is ended, in
            whatever code it hangs. The model then runs in a process of its own.
        copies: so many processes of the model for all workers of a machine together, which share
            its memory where they can, instead of one model in each worker; the model then runs in
            processes of its own.
        env_vars: environment variables set in the model's process before the model loads.
        warmup_examples: examples predicted once after a load, before any other call, so that the
            first batch does not pay for lazy initialisation; one that fails is a failed load.
        threads: how many the model's library may use in one call, in this whole process; by default
            it decides itself where one worker has the machine, and gets a share of the processors
            where several have.
        in_flight: how many calls a worker makes at the same time, for a model that answers
            requests; ``BatchConfig(max_size=...)``, or the handler, has to say how large each is.
        on_nonfinite: what becomes of a prediction with NaN or an infinite number in it: ``"pass"``
            lets it through, ``"fail"`` makes it a failure; it is counted in either case.
        on_version_mismatch: what a worker does that lacks what the pipeline was built with, or has
            another version of it: ``"fail"`` says so before it predicts anything, ``"warn"`` logs
            it and goes on.
        validate_fn: called with the loaded model after the warm-up; raising refuses the model.
    """

    process: bool = False
    timeout: float | None = None
    copies: int | None = None
    env_vars: Mapping[str, str] | None = None
    warmup_examples: Sequence[Any] | None = None
    validate_fn: Callable[[Any], None] | None = None
    threads: int | None = None
    in_flight: int = 1
    on_nonfinite: Literal["pass", "fail"] = "pass"
    on_version_mismatch: Literal["fail", "warn"] = "fail"

    def __post_init__(self) -> None:
        if self.on_nonfinite not in ("pass", "fail"):
            raise ConfigurationError(
                f'Execution(on_nonfinite={self.on_nonfinite!r}): "pass" or "fail" is needed'
            )
        if self.on_version_mismatch not in ("fail", "warn"):
            raise ConfigurationError(
                f"Execution(on_version_mismatch={self.on_version_mismatch!r}): "
                '"fail" or "warn" is needed'
            )
        timeout = self.timeout
        if timeout is not None and (isinstance(timeout, bool) or not timeout > 0):
            raise ConfigurationError(f"Execution(timeout={timeout!r}): seconds above 0 are needed")
        for name in ("threads", "copies"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"Execution({name}={value!r}): at least 1 is needed")
        in_flight = self.in_flight
        if isinstance(in_flight, bool) or not isinstance(in_flight, int) or in_flight < 1:
            raise ConfigurationError(f"Execution(in_flight={in_flight!r}): at least 1 is needed")
        for name, value in (self.env_vars or {}).items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise ConfigurationError(
                    f"Execution(env_vars={{{name!r}: {value!r}}}): both have to be strings"
                )
            if name in policy.VARIABLES:
                raise ConfigurationError(
                    f"Execution(env_vars={{{name!r}: ...}}): what it forbids is for those who run "
                    "the workers to say; set it in their environment"
                )

    @property
    def is_apart(self) -> bool:
        """Whether the model runs in a process of its own."""
        return self.process or self.timeout is not None or self.copies is not None

    @property
    def place(self) -> tuple[object, ...]:
        """What decides in which process a model is: steps that agree on it share one."""
        return (self.is_apart, self.timeout, self.copies)
