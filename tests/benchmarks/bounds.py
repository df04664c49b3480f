"""How long this project may take at most, as multiples of what was measured beside it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BOUNDS", "Bound", "Results", "check", "median"]

Results = Mapping[str, Mapping[str, Any]]
"""The results of jobs by their names, as ``__main__`` writes them."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """One number of a job's results, over another, is at most so much.

    Attributes:
        job: its name.
        system: of this project.
        at_most: the ratio.
        against: another system of the same job, or the same system of another job.
        other_job: where ``against`` was measured; the same job where None.
        measure: of the runs, whose medians are compared.
    """

    job: str
    system: str
    at_most: float
    against: str = "loop"
    other_job: str | None = None
    measure: str = "seconds"

    def __str__(self) -> str:
        other = self.against if self.other_job is None else f"{self.against} of {self.other_job}"
        return f"{self.job}: {self.measure} of {self.system}, over {other}"

    def ratio(self, results: Results) -> float | None:
        """What was measured; None where it was not."""
        own = median(results.get(self.job), self.system, self.measure)
        other = median(results.get(self.other_job or self.job), self.against, self.measure)
        return None if own is None or other is None else own / other


BOUNDS = (
    Bound("logistic-8m", "tables", 1.10),
    Bound("logistic-8m", "tables", 1.20, "tables", "logistic-2m", "peak_bytes"),
    Bound("logistic-2m", "tables", 1.40),
    Bound("forest", "tables", 1.10),
    Bound("forest-2", "tables", 1.10),
    Bound("forest-1m", "tables", 1.10),
    Bound("forest-2-1m", "tables", 1.10),
    Bound("mlp", "tables", 1.05),
    Bound("tensors", "tables", 1.20),
    Bound("sequences", "tables", 1.25),
    Bound("fixed-cost", "tables", 1.25, "imports"),
    Bound("row-numpy", "timed", 1.5, "beam-transform"),
    Bound("row-numpy", "untimed", 1.0, "beam-transform"),
    Bound("row-numpy-fixed", "timed", 1.5, "beam-transform"),
    Bound("row-tensor", "timed", 1 / 5, "beam-transform"),
    Bound("row-tensor", "untimed", 1 / 8, "beam-transform"),
    Bound("row-keyed", "timed", 1 / 1.5, "beam-transform"),
    Bound("row-pandas", "timed", 1 / 40, "beam-transform"),
)


def median(result: Mapping[str, Any] | None, system: str, measure: str) -> float | None:
    """Of a system's runs; None where there are none."""
    runs: Sequence[Mapping[str, Any]] = () if result is None else result["runs"]
    values = [run[measure] for run in runs if run["system"] == system and measure in run]
    return statistics.median(values) if values else None


def check(results: Results, bounds: Sequence[Bound] = BOUNDS) -> list[str]:
    """A line for each bound that is missed, or of which nothing was measured."""
    missed = []
    for bound in bounds:
        ratio = bound.ratio(results)
        if ratio is None:
            missed.append(f"{bound}: not measured")
        elif ratio > bound.at_most:
            missed.append(f"{bound}: {ratio:.3f}, more than {bound.at_most:.3f}")
    return missed
