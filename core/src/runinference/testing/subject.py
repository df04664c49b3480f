"""What a check is given: the handler with its examples, and ways to load and to ask it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import unittest
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import pyarrow as pa

from runinference.batch import TableBatch
from runinference.description import handler_name
from runinference.errors import CheckFailedError
from runinference.model import LocalModel
from runinference.outputs import read_predictions
from runinference.testing.values import difference
from runinference.versions import ModelVersion

__all__ = ["Inputs", "Loaded", "Subject", "does_not_apply", "fail"]


class Inputs(Protocol):
    """What the checks need besides a handler; :class:`runinference.testing.HandlerChecks`."""

    @property
    def examples(self) -> Sequence[Any] | None:
        """Examples that the model can take."""

    @property
    def table(self) -> pa.Table | None:
        """The same as a table, a row each."""

    @property
    def features(self) -> Sequence[str] | None:
        """The columns of the table that the model sees."""

    @property
    def other_model(self) -> str | None:
        """The path of a model that predicts otherwise."""

    @property
    def inference_args(self) -> dict[str, Any] | None:
        """Arguments of every call."""

    @property
    def bad_example(self) -> Any:
        """Something that the model cannot take."""

    @property
    def rtol(self) -> float:
        """How far predictions may be apart, relative to each other."""

    @property
    def atol(self) -> float:
        """How far they may be apart besides."""


class Loaded(NamedTuple):
    """A handler that has loaded its model, and the model."""

    handler: Any
    model: Any


@dataclasses.dataclass(frozen=True)
class Subject:
    """A handler under test."""

    handler: Any
    inputs: Inputs

    @property
    def name(self) -> str:
        """The handler's name, for messages."""
        return handler_name(self.handler)

    def load(self, handler: Any = None) -> Loaded:
        """Load as the workers do: on a shallow copy, which keeps what ``load_model`` learns.

        Args:
            handler: instead of the one under test.
        """
        loading = copy.copy(self.handler if handler is None else handler)
        with self.calling("load_model()", "it has to load the model that the checks are given"):
            return Loaded(loading, loading.load_model())

    def examples(self, loaded: Loaded) -> list[Any]:
        """The examples, in memory of their own; made of the table's rows where none are given."""
        given = self.inputs.examples
        if given is None:
            table = self.table()
            with self.calling("examples_from()", "it makes an example of each row"):
                local = LocalModel(ModelVersion(self.handler, fingerprint=""))
                given = local.examples(TableBatch(table, self.features()))
            if len(given) != table.num_rows:
                fail(
                    f"{self.name}.examples_from() made {len(given)} examples of {table.num_rows} "
                    "rows: exactly one per row, in order, is needed"
                )
        return copy.deepcopy(list(given))

    def table(self) -> pa.Table:
        """The examples as a table."""
        if self.inputs.table is None:
            does_not_apply("no table= was given, which has the examples as rows")
        return self.inputs.table

    def features(self) -> tuple[str, ...] | None:
        """The columns that the model sees; None for those that it names itself."""
        return None if self.inputs.features is None else tuple(self.inputs.features)

    def predict(self, loaded: Loaded, examples: Sequence[Any]) -> list[Any]:
        """One prediction per example, in order; a generator is read to its end."""
        with self.calling("run_inference()", self.needs):
            return self.ask(loaded, examples)

    @property
    def needs(self) -> str:
        """What ``run_inference`` has to do with the examples, for messages."""
        if self.inputs.examples is None:
            return "it has to predict what examples_from() makes of rows (by default dicts)"
        return "it has to predict the examples that are given"

    def ask(self, loaded: Loaded, examples: Sequence[Any]) -> list[Any]:
        """As :meth:`predict`, with the errors as they come."""
        handler, model = loaded
        count = len(examples)  # the handler may empty the list
        raw = handler.run_inference(examples, model, self.inputs.inference_args)
        return read_predictions(raw, count, source=f"{self.name}.run_inference()")

    def difference(self, found: Any, expected: Any) -> str:
        """Where predictions differ by more than they may, in words; "" where they do not."""
        return difference(found, expected, self.inputs.rtol, self.inputs.atol)

    @contextlib.contextmanager
    def calling(self, method: str, needs: str) -> Iterator[None]:
        """Turn what the handler raises into a failed check.

        Args:
            method: that is called.
            needs: what it has to do, for the message.
        """
        __tracebackhide__ = True
        try:
            yield
        except (unittest.SkipTest, CheckFailedError):
            raise
        except Exception as error:
            raise CheckFailedError(
                f"{self.name}.{method} raised {type(error).__name__}: {error}. To pass, {needs}"
            ) from error


def fail(message: str) -> NoReturn:
    """End a check: what is wrong, and what to do."""
    __tracebackhide__ = True
    raise CheckFailedError(message)


def does_not_apply(reason: str) -> NoReturn:
    """End a check that has nothing to look at; every test runner calls it skipped."""
    __tracebackhide__ = True
    raise unittest.SkipTest(reason)
