"""Predict the examples of one model: make the calls, and find out which examples fail."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from runinference.batch import Batch, Positions, pick
from runinference.errors import (
    ExampleFailedError,
    FatalExampleError,
    FeatureError,
    ModelCrashedError,
    ModelOutOfMemoryError,
    ModelUnavailableError,
    RunInferenceError,
)
from runinference.failures import Failed, FailurePolicy, Isolation, Reason
from runinference.hooks import (
    BatchFailed,
    BatchHalved,
    BatchPredicted,
    ExamplesFailed,
    Observers,
)
from runinference.in_flight import InFlight
from runinference.limits import Limits
from runinference.model import LoadedModel, Predictions
from runinference.outcome import Answer, Outcome, call
from runinference.pieces import Piece

__all__ = ["CallsInFlight", "Solved", "solve"]

_NO_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")


class Solved(NamedTuple):
    """Every example of a batch once: with its prediction, or with the reason why it has none."""

    parts: list[tuple[Positions, Predictions]]
    failures: list[Failed]


CallsInFlight: TypeAlias = InFlight[Piece, Outcome]
"""The calls of one worker that are under way."""


def solve(
    batch: Batch,
    model: LoadedModel,
    limits: Limits,
    inference_args: dict[str, Any] | None,
    observers: Observers,
    policy: FailurePolicy = FailurePolicy(),  # noqa: B008 - frozen: nobody can change the one
    isolation: Isolation | None = None,
    calls: CallsInFlight | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Solved:
    """Every example with its prediction or the reason why it has none.

    A call that runs out of memory is made again with half of its examples. What becomes of a call
    that fails otherwise, the policy says.

    Args:
        batch: at least one example.
        model: predicts them.
        limits: cut the batch into calls.
        inference_args: extra arguments of every call.
        observers: are told of each call.
        policy: which errors fail examples; it takes none by default, and the first one is raised.
        isolation: what earlier batches of this model taught about the search for bad examples.
        calls: makes so many at a time; all are over at the end. One at a time where None.
        clock: seconds.

    Raises:
        FatalExampleError: an example failed, and the policy is fatal.
        Exception: what a failing call raised, where the policy does not take it.
    """
    solver = _Solver(model, limits, inference_args, observers, policy, isolation, calls, clock)
    return solver.solve(batch)


class _Solver:
    def __init__(
        self,
        model: LoadedModel,
        limits: Limits,
        inference_args: dict[str, Any] | None,
        observers: Observers,
        policy: FailurePolicy,
        isolation: Isolation | None,
        calls: CallsInFlight | None,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._limits = limits
        self._observers = observers
        self._policy = policy
        self._isolation = isolation or Isolation()
        self._clock = clock
        self._prepare_seconds = 0.0  # of what the next call that succeeds tells
        self._calls: CallsInFlight = InFlight() if calls is None else calls
        self._call = functools.partial(
            call,
            model,
            inference_args=inference_args,
            clock=clock,
            refuses_nonfinite=policy.refuses_nonfinite,
        )
        self._solved = Solved([], [])

    def solve(self, batch: Batch) -> Solved:
        # A stack of what is left to do; lazily, since how large the next call is depends on how
        # long the last one took.
        waiting = [iter([Piece(batch, range(len(batch)))])]
        calls = self._calls
        try:
            while waiting or calls:
                if calls.is_full or not waiting:
                    waiting.append(self._after(*calls.take()))
                    continue
                piece = next(waiting[-1], None)
                if piece is None:
                    waiting.pop()
                    continue
                left = self._before(piece)
                if left is not None:
                    waiting.append(left)
                else:
                    under_way = len(calls) + 1
                    ask = functools.partial(self._call, batch=piece.batch, in_flight=under_way)
                    calls.start(piece, ask)
        finally:
            calls.drop()
        return self._solved

    def _before(self, piece: Piece) -> Iterator[Piece] | None:
        """What is left of a piece instead of a call; None for one that is to be predicted."""
        if piece.failed is not None and self._isolation.is_stopped:
            self._fail(piece.positions, piece.failed)
            return iter(())
        bound = self._model.size_bound
        if piece.is_prepared and bound is not None and len(piece.batch) > bound:
            return piece.cut(self._limits.fit(range(len(piece.batch)), bound))
        try:
            if not piece.is_prepared:
                start = self._clock()
                prepared = self._model.prepare(piece.batch)
                self._prepare_seconds += self._clock() - start
                whole = piece._replace(batch=prepared, is_prepared=True)
                return whole.cut(self._limits.cut(prepared))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may raise anything
            return self._raised(piece, error)
        return None

    def _after(self, piece: Piece, outcome: Outcome) -> Iterator[Piece]:
        """What is left of a piece that was predicted, or was to be."""
        for report in outcome.reports:
            self._observers.remote_called(report)
        if outcome.answer is None:
            assert outcome.error is not None
            return self._raised(piece, outcome.error)
        self._keep(piece, outcome.answer)
        return iter(())

    def _raised(self, piece: Piece, error: BaseException) -> Iterator[Piece]:
        if _is_out_of_memory(error) and len(piece.batch) > 1:
            return self._halved(piece)
        return self._failed(piece, self._explained(piece.batch, error))

    def _keep(self, piece: Piece, answer: Answer) -> None:
        """Take an answer's predictions over, and the failures that it tells of."""
        batch, model = piece.batch, self._model
        if not piece.is_divided:
            self._limits.record(batch, answer.seconds, answer.grown_bytes)
        self._isolation.succeeded()
        for position, error in answer.errors.items():
            marked = _of_position(position, len(batch), error)
            self._raise_unless_taken(batch, marked, error)
            self._fail_one(piece.positions[position], Reason.of(error), error)
        lengths = batch.lengths
        predicted = BatchPredicted(
            model.name,
            model.model_id,
            len(answer.good),
            model.num_bytes(batch),
            answer.seconds,
            tokens=None if lengths is None else sum(lengths),
            padded_tokens=None if lengths is None else max(lengths) * len(batch),
            nonfinite=answer.nonfinite,
            collate_seconds=answer.collate_seconds,
            prepare_seconds=self._prepare_seconds,
            predictions=answer.predictions,
        )
        self._prepare_seconds = 0.0
        self._observers.batch_predicted(predicted)
        if len(answer.good):
            positions = pick(piece.positions, answer.good)
            self._solved.parts.append((positions, answer.predictions))

    def _halved(self, piece: Piece) -> Iterator[Piece]:
        """Try half as many examples in a call, from now on."""
        model, size = self._model, len(piece.batch)
        self._observers.batch_halved(BatchHalved(model.name, model.model_id, size))
        if not piece.is_prepared:
            return piece.halves()
        bound = model.size_bound
        model.size_bound = size // 2 if bound is None else min(bound, size // 2)
        return iter([piece])

    def _explained(self, batch: Batch, error: BaseException) -> Exception:
        """What to say of an error: itself, unless it needs to be explained."""
        name = self._model.name
        if isinstance(error, SystemExit):
            explained: Exception = ModelCrashedError(
                f"{name} called sys.exit({error.code!r}) in a call with {len(batch)} examples"
            )
        elif isinstance(error, Exception) and _is_out_of_memory(error):
            explained = ModelOutOfMemoryError(
                f"{name} runs out of memory on a single example of "
                f"{self._model.num_bytes(batch):,} bytes: {str(error) or type(error).__name__}"
            )
        else:
            assert isinstance(error, Exception)
            return error
        explained.__cause__ = error
        return explained

    def _failed(self, piece: Piece, error: Exception) -> Iterator[Piece]:
        """What is left of a piece whose call failed: nothing, or smaller pieces."""
        self._raise_unless_taken(piece.batch, error, error)
        reason, size, policy = Reason.of(error), len(piece.batch), self._policy
        blamed = error.positions if isinstance(error, RunInferenceError) else None
        if policy.is_fatal and (blamed or size == 1):
            self._fail_one(pick(piece.positions, blamed or [0])[0], reason, error)
        if policy.isolate and not isinstance(error, ModelUnavailableError):
            if blamed is not None and 0 < len(blamed) < size:
                bad = frozenset(blamed)
                self._fail(pick(piece.positions, sorted(bad)), reason)
                rest = [position for position in range(size) if position not in bad]
                return piece._replace(is_divided=True).cut([rest])
            if size > 1 and not isinstance(error, FeatureError):
                if self._isolation.is_stopped:
                    return piece.probes(reason)
                return piece.halves()
            if size == 1:
                self._isolation.failed(self._model.name)
        if policy.is_fatal:
            raise error
        self._fail(piece.positions, reason)
        return iter(())

    def _raise_unless_taken(self, batch: Batch, error: Exception, cause: Exception) -> None:
        model = self._model
        self._observers.batch_failed(BatchFailed(model.name, model.model_id, len(batch), cause))
        if not isinstance(cause, self._policy.exc_class):
            raise error

    def _fail_one(self, position: int, reason: Reason, error: Exception) -> None:
        if self._policy.is_fatal:
            raise FatalExampleError(reason.brief, position) from error
        self._fail([position], reason)

    def _fail(self, positions: Positions, reason: Reason) -> None:
        model = self._model
        failed = Failed(positions, reason, model.model_id)
        self._solved.failures.append(failed)
        self._observers.examples_failed(
            ExamplesFailed(
                model.name,
                model.model_id,
                len(positions),
                failed.stage,
                reason.type,
                reason.message,
            )
        )


def _of_position(position: int, size: int, error: Exception) -> ExampleFailedError:
    failed = ExampleFailedError(
        f"example {position} of a batch of {size} failed: {type(error).__name__}: {error}"
    )
    failed.__cause__ = error
    return failed


def _is_out_of_memory(error: BaseException) -> bool:
    """Python's and numpy's own error, torch's, and what CUDA's libraries say in a RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
