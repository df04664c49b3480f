"""What is loaded, and how it is run."""

from __future__ import annotations

import dataclasses

from runinference.config import BatchConfig, Execution
from runinference.handler import Handler

__all__ = ["ModelVersion"]


@dataclasses.dataclass(frozen=True, eq=False)
class ModelVersion:
    """What to load, and how to run it. Two are equal if they load the same model.

    Attributes:
        handler: loads and asks the model.
        fingerprint: of the handler's class and state, see :func:`runinference.loader.fingerprint`.
        path: where to load from instead of the handler's own path.
        stamp: tells one content of the file at ``path`` from the next.
        execution: where and how the model runs.
        batching: what bounds a call of this model.
        metrics_prefix: of the names of its own metrics, where a step has a model per key.
        run: names the run of a pipeline: only its own workers share copies of a model.
    """

    handler: Handler
    fingerprint: str
    path: str | None = None
    stamp: str | None = None
    execution: Execution = Execution()
    batching: BatchConfig = BatchConfig()
    metrics_prefix: str | None = None
    run: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelVersion) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.fingerprint, self.path, self.stamp, *self.execution.place)
