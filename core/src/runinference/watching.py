"""How a step learns of other models while it runs: what its user told, and the side input."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import apache_beam as beam
from apache_beam.transforms import trigger, window
from apache_beam.transforms.periodicsequence import PeriodicImpulse

from runinference.errors import ConfigurationError
from runinference.model_files import newest
from runinference.updates import Polling

__all__ = ["Refresh", "Watching"]

Refresh = Literal["poll", "side_input"]


@dataclasses.dataclass(frozen=True)
class Watching:
    """Where other models come from; from nowhere by default.

    Attributes:
        models: a PCollection that tells them.
        pattern: of files, of which the one that was changed last is the model.
        refresh: who looks for files: each worker, or a side input.
        interval_s: seconds between two looks.

    Raises:
        ConfigurationError: options that cannot work together.
    """

    models: Any = None
    pattern: str | None = None
    refresh: Refresh = "poll"
    interval_s: float = 60.0

    def __post_init__(self) -> None:
        if self.models is not None and self.pattern is not None:
            raise ConfigurationError(
                "model_metadata_pcoll and watch_model_pattern both tell which model is next: leave "
                "one out"
            )
        if self.models is not None and not isinstance(self.models, beam.PCollection):
            raise ConfigurationError(
                f"model_metadata_pcoll={self.models!r:.100}: a PCollection of ModelMetadata is "
                "needed, or of lists of KeyModelPathMapping"
            )
        if self.refresh not in ("poll", "side_input"):
            raise ConfigurationError(f'refresh={self.refresh!r}: "poll" or "side_input" is needed')
        if isinstance(self.interval_s, bool) or not self.interval_s > 0:
            raise ConfigurationError(
                f"refresh_interval_s={self.interval_s!r}: seconds above 0 are needed"
            )

    def polling(self) -> Polling | None:
        """What each worker looks for, if anything."""
        if self.pattern is None or self.refresh != "poll":
            return None
        return Polling(self.pattern, self.interval_s)

    def side_input(self, pipeline: beam.Pipeline, label: str) -> Any:
        """What tells the step of other models, as the argument of its DoFn; None for nothing."""
        models = self.models
        if self.pattern is not None and self.refresh == "side_input":
            models = pipeline | f"Watch({label})" >> _Watch(self.pattern, self.interval_s)
        return None if models is None else beam.pvalue.AsSingleton(models, default_value=None)


class _Watch(beam.PTransform[Any, Any]):
    """The newest file of a pattern, at each interval, without an end."""

    def __init__(self, pattern: str, interval_s: float) -> None:
        super().__init__()
        self._pattern = pattern
        self._interval_s = interval_s

    def expand(self, start: Any) -> Any:
        """Look at each interval."""
        every = start | PeriodicImpulse(fire_interval=self._interval_s)
        return (
            every
            | "Look" >> beam.FlatMap(_look, self._pattern)
            | beam.WindowInto(
                window.GlobalWindows(),
                trigger=trigger.Repeatedly(trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.DISCARDING,
            )
        )


def _look(_: Any, pattern: str) -> Iterator[Any]:
    found = newest(pattern)
    if found is not None:
        yield found
