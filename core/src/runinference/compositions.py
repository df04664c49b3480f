"""Two models in one pipeline: an A/B test, and a model that predicts in another one's shadow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from runinference.config import BatchConfig, Execution
from runinference.errors import ConfigurationError
from runinference.failures import Failure, Reason, RunInferenceDLQ
from runinference.handler import Handler
from runinference.hints import listed
from runinference.keyed import KeyedModelHandler, KeyModelMapping
from runinference.transform import RunInference

__all__ = ["ABTest", "Arms", "Comparison", "Shadow", "ShadowOutputs"]

_FAILED = "failed"


class Arms:
    """Chooses an arm of an A/B test for a key: the same one in every worker, run and release.

    A key's place among the shares is a hash of it. So a share that grows takes keys of its
    neighbours alone, and those that it had stay.

    Args:
        shares: of each arm, in an order that stays; 1 together.
        salt: the test's name, without which two tests would divide the same keys alike.

    Raises:
        ConfigurationError: shares that are not 1 together.
    """

    def __init__(self, shares: Mapping[str, float], salt: str = "") -> None:
        if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
            raise ConfigurationError(
                f"Arms({dict(shares)!r}): a share from 0 to 1 for each arm is needed, 1 together"
            )
        self.shares = dict(shares)
        self._salt = salt.encode() + b"\0"

    def __call__(self, key: str | bytes | int) -> str:
        """The arm of a key; a whole number and its digits are the same key.

        Raises:
            ConfigurationError: a key of another kind, of which two Pythons may not say the same.
        """
        return list(self.shares)[self.number(key)]

    def number(self, key: Any) -> int:
        """The arm's number, as ``beam.Partition`` takes it."""
        if not isinstance(key, str | bytes):
            if isinstance(key, bool | float) or not hasattr(key, "__index__"):
                raise ConfigurationError(
                    f"an arm is chosen by a text, bytes or a whole number, not by {key!r:.100}"
                )
            key = str(int(key))
        told = key.encode() if isinstance(key, str) else key
        digest = hashlib.blake2b(self._salt + told, digest_size=8).digest()
        place, end = int.from_bytes(digest) / 2**64, 0.0
        for number, share in enumerate(self.shares.values()):
            end += share
            if place < end:
                return number
        # the shares came to a little less than 1
        return max(number for number, share in enumerate(self.shares.values()) if share)

    def of_column(self, keys: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """The arm of each key of a table's column: texts, whole numbers or binary, without nulls.

        For ``RunTableInference`` with a model per key: append it as a column, and name that one.
        """
        distinct = pc.unique(keys)
        arms = pa.array([self(key) for key in distinct.to_pylist()], pa.string())
        return pc.take(arms, pc.index_in(keys, value_set=distinct))


class ABTest(beam.PTransform[Any, Any]):
    """Predicts each element with the model of its arm.

    From ``PCollection[element]`` to ``PCollection[(arm, result)]``, of the results that the steps
    give. Where steps handle exceptions, the output is a pair, as theirs is: the results, and a dict
    with the dead letters of each arm.

    Args:
        arms: chooses by a key.
        steps: one :class:`RunInference` for each arm.
        key: of an element; by default the first of a pair, as a step with a
            :class:`KeyedModelHandler` takes them.

    Raises:
        ConfigurationError: other arms than steps.
    """

    def __init__(
        self,
        arms: Arms,
        steps: Mapping[str, beam.PTransform[Any, Any]],
        key: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        if set(arms.shares) != set(steps):
            raise ConfigurationError(
                f"ABTest: a step for each arm is needed; there are the arms {listed(arms.shares)}, "
                f"and steps for {listed(steps)}"
            )
        self._arms = arms
        self._steps = dict(steps)
        self._key = key

    def expand(self, elements: beam.PCollection[Any]) -> Any:
        """Divide, predict, and put together."""
        names = list(self._arms.shares)
        arm_of: Any = _arm_of
        divided = elements | "Divide" >> beam.Partition(arm_of, len(names), self._arms, self._key)
        results, dead = [], {}
        for name, own in zip(names, divided, strict=True):
            predicted = own | f"Predict {name}" >> self._steps[name]
            if isinstance(predicted, tuple):
                predicted, dead[name] = predicted
            results.append(predicted | f"Name {name}" >> beam.Map(_with_arm, name))
        every = tuple(results) | "Results" >> beam.Flatten()
        return (every, dead) if dead else every


def _arm_of(element: Any, count: int, arms: Arms, key: Callable[[Any], Any] | None) -> int:
    if key is not None:
        return arms.number(key(element))
    if isinstance(element, tuple) and len(element) == 2:
        return arms.number(element[0])
    raise ConfigurationError(
        f"ABTest chooses by the key of a (key, example) pair, but an element is {element!r:.100}: "
        "tell it key=, a function from an element to its key"
    )


def _with_arm(result: Any, arm: str) -> tuple[str, Any]:
    return arm, result


class Comparison(NamedTuple):
    """What two models said of one example.

    Attributes:
        example: what the handlers were given.
        inference: of the model whose results leave.
        shadow: of the other one.
        agrees: whether they say the same.
        key: the example's key; None where it has none.
    """

    example: Any
    inference: Any
    shadow: Any
    agrees: bool
    key: Any = None


class ShadowOutputs(NamedTuple):
    """What leaves a :class:`Shadow`.

    Attributes:
        results: of the first model, as if it were alone.
        comparisons: of :class:`Comparison`, one for each example that both predicted.
        failures: of :class:`Failure`, for each that the shadow could not predict.
        dead_letters: of the first model, where it handles exceptions.
    """

    results: beam.PCollection[Any]
    comparisons: beam.PCollection[Comparison]
    failures: beam.PCollection[Failure]
    dead_letters: RunInferenceDLQ | None


class Shadow(beam.PTransform[Any, Any]):
    """Has a second model predict what the first one does, to compare them before it takes over.

    The second one never changes or stops the results: an example that it fails on is a failure of
    its own, and so are all of them where it cannot be loaded. What crashes or hangs its process
    does the same with ``execution=Execution(timeout=...)``. It does take time of the workers.

    ``num_agreements`` and ``num_disagreements`` in the namespace ``Shadow`` are the metrics.

    Args:
        step: the first model.
        handler: of the second one; it is given the examples that the first one's handler was given.
        agree: whether two predictions say the same; by default, whether they are equal.
        batching: of the second model.
        execution: of the second model.

    Raises:
        ConfigurationError: the results of ``step`` are not :class:`PredictionResult`.
    """

    def __init__(
        self,
        step: RunInference,
        handler: Handler,
        *,
        agree: Callable[[Any, Any], bool] | None = None,
        batching: BatchConfig | None = None,
        execution: Execution | None = None,
    ) -> None:
        super().__init__()
        if not step.gives_results:
            raise ConfigurationError(
                "Shadow compares PredictionResults, which have the example: leave output= and "
                "postprocess functions out of its first step, and map what it gives"
            )
        self._step = step
        self._agree = agree or _are_equal
        # A model per key waits for its first example, and one that cannot be loaded is no error of
        # the run. To the router all keys are one; each carries its result along.
        mapping = KeyModelMapping([_Carried(None, None)], handler)
        shadow = RunInference(KeyedModelHandler([mapping]), batching=batching, execution=execution)
        self._shadow = shadow.with_exception_handling(threshold=None)

    def expand(self, examples: beam.PCollection[Any]) -> ShadowOutputs:
        """Predict twice, and compare."""
        results, dead_letters = examples | "First" >> self._step, None
        if isinstance(results, tuple):
            results, dead_letters = results
        pairs = results | "Carry" >> beam.Map(_carry)
        shadowed, dead = pairs | "Second" >> self._shadow
        compare = beam.ParDo(_Compare(self._agree)).with_outputs(_FAILED, main="compared")
        compared = shadowed | "Compare" >> compare
        every = (dead.failed_inferences, *dead.failed_preprocessing, *dead.failed_postprocessing)
        failures = every | "AllFailures" >> beam.Flatten() | "Key" >> beam.Map(_with_own_key)
        failures = (failures, compared[_FAILED]) | "Failures" >> beam.Flatten()
        return ShadowOutputs(results, compared["compared"], failures, dead_letters)


class _Carried:
    """A result, as the key of its own example; to a router, all of them are the same key."""

    def __init__(self, key: Any, result: Any) -> None:
        self.key = key
        self.result = result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Carried)

    def __hash__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "shadow"  # the name of the model's metrics


def _carry(result: Any) -> tuple[_Carried, Any]:
    # a PredictionResult has three parts, a key and its result are two
    key, own = result if len(result) == 2 else (None, result)
    return _Carried(key, own), own.example


class _Compare(beam.DoFn):
    def __init__(self, agree: Callable[[Any, Any], bool]) -> None:
        self._agree = agree
        self._agreements = Metrics.counter("Shadow", "num_agreements")
        self._disagreements = Metrics.counter("Shadow", "num_disagreements")

    def process(self, element: tuple[_Carried, Any]) -> Iterator[Any]:
        """One pair of predictions."""
        carried, shadowed = element
        example, inference, _ = carried.result
        other = getattr(shadowed, "inference", shadowed)
        try:
            agrees = bool(self._agree(inference, other))
        except Exception as error:  # noqa: BLE001 - the user's function never harms the results
            reason = Reason.of(error)
            failure = Failure(example, carried.key, "compare", *reason, carried.result.model_id)
            yield TaggedOutput(_FAILED, failure)
            return
        (self._agreements if agrees else self._disagreements).inc()
        yield Comparison(example, inference, other, agrees, carried.key)


def _with_own_key(failure: Failure) -> Failure:
    key = failure.key
    return failure._replace(key=key.key) if isinstance(key, _Carried) else failure


def _are_equal(one: Any, other: Any) -> bool:
    equal = one == other
    return bool(equal.all()) if hasattr(equal, "all") else bool(equal)
