"""The step that runs in a worker: elements in, batch, models, results out."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from runinference.batch import Positions, RowBatch, TableBatch, pick
from runinference.config import BatchConfig
from runinference.deduplication import solve_distinct
from runinference.environment import Carried
from runinference.errors import FatalExampleError
from runinference.failures import COUNTS, Count, Failed, Isolation, Reason
from runinference.gathering import Elements
from runinference.hooks import ExamplesFailed, Observers
from runinference.in_flight import InFlight
from runinference.limits import Limits
from runinference.metrics import BeamMetrics
from runinference.solve import CallsInFlight, solve
from runinference.versions import ModelVersion
from runinference.work import Part, Work

__all__ = ["AtTheEnd", "InferenceDoFn", "OnePerWindow"]


class InferenceDoFn(beam.DoFn):
    """Predicts the examples of a bundle with the models that the router chooses.

    Args:
        work: what to do; it stays packed until a worker has what it needs.
    """

    def __init__(self, work: Carried[Work]) -> None:
        self._work = work

    def setup(self) -> None:
        """Load the model, or take the one that this process has.

        Raises:
            WorkerEnvironmentError: this worker is not what the pipeline was built with.
            Exception: whatever a load raises.
        """
        work = self._work.unpack()
        self._gather = work.gather
        self._edge = work.edge
        self._router = work.router
        self._inference_args = work.inference_args
        self._policy = work.policy
        self._metrics_namespace = namespace = work.metrics_namespace
        self._metrics = None if namespace is None else BeamMetrics(namespace)
        self._observers = Observers([] if self._metrics is None else [self._metrics])
        self._limits: dict[BatchConfig, Limits] = {}
        self._isolations: dict[tuple[ModelVersion, str | None], Isolation] = {}
        self._of_model: dict[ModelVersion, tuple[BeamMetrics, Observers]] = {}
        self._router.open(self._observers)
        self._calls: CallsInFlight = InFlight(work.in_flight)

    def start_bundle(self) -> None:
        """Nothing waits yet."""
        self._told: Any = None
        self._gather.start()

    def process(
        self, element: Any, windowed: Any = beam.DoFn.WindowedValueParam, told: Any = None
    ) -> Iterable[Any] | None:
        """Take one element, and predict once there are enough, with the models that a side input
        tells, if one does."""
        if told is not None and told != self._told:
            return self._predict_with(told, windowed)
        ready = self._gather.add(windowed)
        return None if ready is None else self._predict(ready)

    def _predict_with(self, told: Any, windowed: Any) -> Iterator[Any]:
        """Take an element that another model is told for, such as the first of a window, once what
        waits is predicted with the one before."""
        for waiting in self._gather.rest():
            yield from self._predict(waiting)
        self._gather.start()
        self._told = told
        ready = self._gather.add(windowed)
        if ready is not None:
            yield from self._predict(ready)

    def finish_bundle(self) -> Iterator[Any]:
        """Predict what is left, and report what happened outside of a batch."""
        for ready in self._gather.rest():
            yield from self._predict(ready)
        if self._metrics is not None:
            self._metrics.flush()
            for metrics, _ in self._of_model.values():
                metrics.flush()

    def teardown(self) -> None:
        """Let go of the models, after the last call of them."""
        if hasattr(self, "_calls"):
            self._calls.close()
        if hasattr(self, "_observers"):  # a setup that failed is torn down too
            self._router.close(self._observers)

    def _predict(self, elements: Elements) -> Iterable[Any]:
        if self._told is not None:
            self._router.update(self._told, self._observers)
        batch, keys = self._edge.open(elements)
        if self._metrics is not None:
            self._metrics.received(len(batch))
        try:
            with self._gather.timing(len(elements)):
                parts, failures = self._predict_batch(batch, keys)
        except FatalExampleError as error:
            where = self._edge.locate(elements, error.position)
            raise FatalExampleError(f"{where}: {error}", error.position) from error.__cause__
        results = self._edge.emit(elements, batch, keys, parts, failures)
        if not self._policy.exc_class or self._policy.is_fatal:
            return results
        return itertools.chain(results, _counts(elements, self._edge.sizes(elements), failures))

    def _predict_batch(
        self, batch: RowBatch | TableBatch, keys: Sequence[Any] | None
    ) -> tuple[list[Part], list[Failed]]:
        parts: list[Part] = []
        failures: list[Failed] = []
        if not len(batch):
            return parts, failures
        for chosen, positions in self._router.split(keys, len(batch)):
            try:
                solved = self._predict_group(chosen, batch, positions)
            except FatalExampleError as error:
                where = pick(positions, [error.position])[0]
                raise FatalExampleError(str(error), where) from error.__cause__
            for own, predictions, model_id in solved[0]:
                parts.append(Part(pick(positions, own), predictions, model_id))
            for failed in solved[1]:
                own = failed.positions
                failures.append(failed._replace(positions=pick(positions, own)))
        return parts, failures

    def _predict_group(
        self, chosen: ModelVersion | Exception, batch: RowBatch | TableBatch, positions: Positions
    ) -> tuple[list[Part], list[Failed]]:
        """Predict the examples of one model; the positions are those in the group."""
        with contextlib.ExitStack() as stack:
            observers = self._observers
            try:
                if isinstance(chosen, Exception):
                    raise chosen
                observers = self._observers_of(chosen)
                model = stack.enter_context(self._router.lease(chosen, observers))
            except Exception as error:
                if not self._router.isolates_loads:
                    raise
                return [], [self._without_model(error, positions, observers)]
            limits = self._limits.get(chosen.batching)
            if limits is None:
                limits = self._limits[chosen.batching] = Limits(chosen.batching)
            predict = functools.partial(
                solve,
                model=model,
                limits=limits,
                inference_args=self._inference_args,
                observers=observers,
                policy=self._policy,
                isolation=self._isolations.setdefault((chosen, model.model_id), Isolation()),
                calls=self._calls,
            )
            group = batch.take(positions)
            if chosen.batching.deduplicate:
                solved = solve_distinct(predict, group, model, observers)
            else:
                solved = predict(group)
            return [Part(*part, model.model_id) for part in solved.parts], solved.failures

    def _without_model(
        self, error: Exception, positions: Positions, observers: Observers
    ) -> Failed:
        """The failure of examples for which there is no model.

        Raises:
            FatalExampleError: the policy is fatal; for the first of them.
            Exception: the error itself, where the policy does not take it.
        """
        if not isinstance(error, self._policy.exc_class):
            raise error
        if self._policy.is_fatal:
            raise FatalExampleError(Reason.of(error).brief) from error
        failed = Failed(range(len(positions)), Reason.of(error), None, "load")
        observers.examples_failed(
            ExamplesFailed(
                "", None, len(positions), "load", failed.reason.type, failed.reason.message
            )
        )
        return failed

    def _observers_of(self, version: ModelVersion) -> Observers:
        """Those of the step, and where it has a model per key, the metrics of this one."""
        if version.metrics_prefix is None or self._metrics is None:
            return self._observers
        namespace = self._metrics_namespace
        assert namespace is not None
        if version not in self._of_model:
            metrics = BeamMetrics(namespace, version.metrics_prefix)
            self._of_model[version] = metrics, Observers([self._metrics, metrics])
        return self._of_model[version][1]


class OnePerWindow(InferenceDoFn):
    """The same for windows that overlap: an element that is in several comes once for each.

    Beam would multiply the windows of what goes out by those of the element that came last.
    """

    def process(  # type: ignore[override]  # by name and place, Beam fills what it knows
        self,
        element: Any,
        windowed: Any = beam.DoFn.WindowedValueParam,
        window: Any = beam.DoFn.WindowParam,
        told: Any = None,  # last, or Beam puts the window here where there is no side input
    ) -> Iterable[Any] | None:
        """As that of the base."""
        return super().process(element, windowed, told)


class AtTheEnd(InferenceDoFn):
    """The same for elements of the global window, whose results are all at its end.

    Not to ask for an element's time is what makes it cheaper.
    """

    def process(self, element: Any) -> Iterable[Any] | None:  # type: ignore[override]  # Beam asks
        """As that of the base."""
        ready = self._gather.add(_END.with_value(element))
        return None if ready is None else self._predict(ready)


_END = GlobalWindows.windowed_value_at_end_of_window(None)


def _counts(
    elements: Elements, sizes: Iterable[int], failures: Sequence[Failed]
) -> Iterator[TaggedOutput[str, Any]]:
    """How many examples there were in each window, and how many of them failed."""
    failed = {position: failure for failure in failures for position in failure.positions}
    counts: dict[Any, list[Any]] = {}
    start = 0
    for windowed, size in zip(elements, sizes):
        count = counts.setdefault(windowed.windows[0], [windowed, 0, 0, None])
        count[1] += size
        for position in range(start, start + size) if failed else ():
            if position in failed:
                count[2] += 1
                count[3] = count[3] or failed[position].reason.text
        start += size
    for windowed, *count in counts.values():
        yield TaggedOutput(COUNTS, windowed.with_value(Count(*count)))
