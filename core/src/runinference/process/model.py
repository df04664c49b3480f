"""A model in a process of its own: a crash or a hang of it is an ordinary exception here."""

from __future__ import annotations

import copy
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from runinference.batch import Batch, RowBatch, TableBatch
from runinference.beams import byte_counter
from runinference.description import handler_name
from runinference.errors import (
    InferenceError,
    ModelCrashedError,
    ModelLoadError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from runinference.model import Predictions
from runinference.process.connection import Connection, ServerEnded
from runinference.process.control import Granted, ModelInfo
from runinference.process.packing import Buffers, fold_batch, pack, unfold
from runinference.process.starting import connect
from runinference.versions import ModelVersion

__all__ = ["ProcessModel"]

# Halving 10,000 examples down to one that crashes loses 14 processes in a row.
_MOST_LOSSES = 24
_MOST_LOST_SECONDS = 900.0
_ATTEMPTS = 3


class _Losses:
    """Calls in a row that cost a process, and how long they took.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._count = 0
        self._seconds = 0.0

    def reset(self) -> None:
        """A call went well."""
        self._count, self._seconds = 0, 0.0

    def add(self, seconds: float) -> str | None:
        """Take note of one; what to say where they are too many."""
        self._count += 1
        self._seconds += seconds
        if self._count <= _MOST_LOSSES and self._seconds <= _MOST_LOST_SECONDS:
            return None
        return f"{self._count} calls in a row, {self._seconds:.0f} seconds in all,"


class _Slot:
    """Room for one call at a time, with the connection that makes it.

    Args:
        version: the model.
    """

    def __init__(self, version: ModelVersion) -> None:
        self._version = version
        self.connection: Connection | None = None

    def serve(self) -> Granted | None:
        """Start what is not running; what the server tells, where it had to be asked.

        Raises:
            ServerEnded: it ends each time.
            Exception: whatever ends or refuses the start.
        """
        if self.connection is not None and self.connection.is_served:
            return None
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._acquire()
            except ServerEnded:  # or is just ending, since its last client had left
                self.close()
        return self._acquire()

    def close(self) -> None:
        """Hang up."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _acquire(self) -> Granted:
        if self.connection is None:
            self.connection = connect(self._version)
        return self.connection.acquire()


class ProcessModel:
    """A model in a process of its own, started again when it has ended.

    Calls of several threads follow one another, so that it is known which one a process died of;
    with ``copies``, as many are made at a time, shared with the other workers of the machine.

    Args:
        version: the model.
        clock: seconds.

    Raises:
        ModelLoadError: the process ended, or took too long.
        Exception: whatever the handler's ``load_model``, the warm-up or the validation raises.
    """

    is_here = False

    def __init__(
        self, version: ModelVersion, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._version = version
        self._timeout = version.execution.timeout
        self._is_shared = version.execution.copies is not None
        self._slots: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for _ in range(version.execution.copies or 1):
            self._slots.put(_Slot(version))
        self._lock = threading.Lock()
        self._losses = _Losses(clock)
        self.size_bound: int | None = None
        self.name = handler_name(version.handler)
        try:
            with self._slot() as slot:
                granted = slot.serve()
        except (ModelCrashedError, ModelTimeoutError, ServerEnded) as error:
            self.close()
            raise ModelLoadError(f"{self.name} cannot be loaded: {error}") from error
        except BaseException:
            self.close()
            raise
        assert granted is not None
        info: ModelInfo = granted.info
        self._info = info
        self.name, self.model_id = info.name, info.model_id
        self.byte_size = info.byte_size if granted.is_new else 0
        self._handler = copy.copy(version.handler)
        getattr(self._handler, "__dict__", {}).update(info.attributes)
        self.sha256: str | None = getattr(self._handler, "sha256", None)

    def feature_names(self) -> Sequence[str] | None:
        """See :class:`~runinference.model.LoadedModel`."""
        return self._info.features

    def prepare(self, batch: Batch) -> Batch:
        """See :class:`runinference.model.LoadedModel`."""
        is_rows = isinstance(batch, RowBatch)
        if not (self._info.prepares_rows if is_rows else self._info.prepares_tables):
            return batch
        what = f"preparing {len(batch)} examples"
        folded, lengths = self._call("prepare", self._seen(batch), None, what)
        return dataclasses.replace(batch, prepared=unfold(folded, owned=False), lengths=lengths)

    def predict(self, batch: Batch, inference_args: dict[str, Any] | None) -> Predictions:
        """See :class:`runinference.model.LoadedModel`.

        Raises:
            ModelCrashedError: the process ended within the call.
            ModelTimeoutError: it took too long, and was ended.
            ModelUnavailableError: it cannot be started again, or too many calls in a row ended it.
        """
        what = f"predicting {len(batch)} examples"
        answer = self._call("predict", self._seen(batch), inference_args, what)
        if isinstance(batch, TableBatch) and not isinstance(answer, list | tuple):
            table: Predictions = answer
            return table
        return list(unfold(answer, owned=True))

    def num_bytes(self, batch: Batch) -> int:
        """See :class:`runinference.model.LoadedModel`."""
        if isinstance(batch, TableBatch):
            seen = self._seen(batch)
            assert isinstance(seen, TableBatch)
            return int(seen.table.nbytes)
        return int(byte_counter(self._handler)(batch.examples))

    def close(self) -> None:
        """End the process; the handler's ``close_model`` runs there first."""
        while not self._slots.empty():
            self._slots.get().close()

    def _seen(self, batch: Batch) -> Batch:
        """The batch without the columns that the model does not see."""
        if isinstance(batch, RowBatch):
            return batch
        names = batch.feature_names(self._info.features)
        columns = batch.table.column_names
        if not names or any(columns.count(name) != 1 for name in names):
            return batch  # the model's process says what is wrong with it
        return dataclasses.replace(batch, table=batch.table.select(list(names)))

    def _call(
        self, operation: str, batch: Batch, inference_args: dict[str, Any] | None, what: str
    ) -> Any:
        try:
            request = pack((operation, fold_batch(batch), inference_args))
        except Exception as error:
            raise InferenceError(
                f"the examples cannot be sent to the process of {self.name}: "
                f"{type(error).__name__}: {error}"
            ) from error
        with self._slot() as slot:
            try:
                slot.serve()
            except Exception as error:
                raise ModelUnavailableError(
                    f"{self.name} cannot be started again after its process ended: {error}"
                ) from error
            assert slot.connection is not None
            return self._ask(slot.connection, request, what)

    @contextmanager
    def _slot(self) -> Iterator[_Slot]:
        """One of as many as there are processes."""
        slot = self._slots.get()
        try:
            yield slot
        finally:
            if self._is_shared and slot.connection is not None:
                slot.connection.release()
            self._slots.put(slot)

    def _ask(self, connection: Connection, request: Buffers, what: str) -> Any:
        start = self._losses.clock()
        try:
            answer = connection.call(request, what, self._timeout)
        except (ModelCrashedError, ModelTimeoutError) as error:
            with self._lock:
                too_many = self._losses.add(self._losses.clock() - start)
            if too_many is None:
                raise type(error)(f"{self.name}: {error}") from None
            raise ModelUnavailableError(
                f"{self.name}: {too_many} ended the model's process; the last one: {error}"
            ) from error
        with self._lock:
            self._losses.reset()
        return answer
