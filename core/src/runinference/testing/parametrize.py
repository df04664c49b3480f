"""A pytest decorator that makes one test of each check and handler."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from runinference.description import handler_name
from runinference.errors import CheckFailedError
from runinference.testing.checks import HandlerChecks, NotAnExample, unexpected

__all__ = ["Check", "parametrize_with_checks"]

TestT = TypeVar("TestT", bound=Callable[..., Any])


class UnexpectedOutcomeError(Exception):
    """A check left out, or expected to fail where it cannot; no failure that can be expected."""


class Check:
    """One check; ``check(handler)`` raises where the handler does not pass it."""

    def __init__(self, name: str, checks: HandlerChecks) -> None:
        self.name = name
        self._checks = checks
        self._has_run = False
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return self.name

    def __call__(self, handler: Any) -> None:
        """Run it.

        Raises:
            CheckFailedError: the handler does not pass it.
            unittest.SkipTest: it does not apply to the handler.
        """
        __tracebackhide__ = True
        self._has_run = True
        try:
            self._checks.check(self.name, handler)
        except unittest.SkipTest as skip:
            if self.name in self._checks.expected_failed_checks:
                message = unexpected(self.name, f"does not apply: {skip}")
                raise UnexpectedOutcomeError(message) from None
            raise
        except Exception as error:
            self._error = error
            raise

    def settle(self) -> None:
        """Make sure that the test has run it, and has let its error through.

        Raises:
            UnexpectedOutcomeError: the test has not run it.
            Exception: what it raised, and the test kept to itself.
        """
        __tracebackhide__ = True
        if self._error is not None:
            raise self._error
        if not self._has_run:
            raise UnexpectedOutcomeError(
                f"the test has not run {self.name}: call check(handler); a check that the handler "
                "cannot pass is named in expected_failed_checks, with the reason"
            )


def parametrize_with_checks(
    handlers: Sequence[Any],
    *,
    examples: Sequence[Any] | None = None,
    table: pa.Table | None = None,
    features: Sequence[str] | None = None,
    other_model: str | None = None,
    inference_args: dict[str, Any] | None = None,
    bad_example: Any = None,
    rtol: float = HandlerChecks.rtol,
    atol: float = HandlerChecks.atol,
    expected_failed_checks: Mapping[str, str] | None = None,
) -> Callable[[TestT], TestT]:
    """Parametrize a test, ``def test_handler(handler, check): check(handler)``, with every check.

    Args:
        handlers: objects; they are checked with the same examples.
        examples: see :class:`HandlerChecks`, as for the other arguments.
        table: the examples as a table.
        features: the columns of the table that the model sees.
        other_model: the path of a model that predicts otherwise.
        inference_args: arguments of every call.
        bad_example: something that the model cannot take; an object of no known class where None.
        rtol: how far predictions may be apart, relative to each other.
        atol: how far they may be apart besides.
        expected_failed_checks: checks that the handlers do not pass, each with the reason.

    Raises:
        ConfigurationError: too few examples, an unknown check, or one without a reason.
    """
    import pytest  # the package works where it is not installed

    checks = HandlerChecks(
        examples=examples,
        table=table,
        features=features,
        other_model=other_model,
        inference_args=inference_args,
        bad_example=NotAnExample() if bad_example is None else bad_example,
        rtol=rtol,
        atol=atol,
        expected_failed_checks=expected_failed_checks or {},
    )
    parameters = []
    for handler in handlers:
        for name in checks.names:
            reason = checks.expected_failed_checks.get(name)
            marks = []
            if reason is not None:
                mark = pytest.mark.xfail(reason=reason, raises=CheckFailedError, strict=True)
                marks.append(mark)
            test_id = f"{handler_name(handler)}-{name}"
            parameters.append(pytest.param(handler, Check(name, checks), marks=marks, id=test_id))

    def decorate(test: TestT) -> TestT:
        @functools.wraps(test)
        def checked(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            test(*args, **kwargs)
            kwargs["check"].settle()

        parametrized: TestT = pytest.mark.parametrize(("handler", "check"), parameters)(checked)
        return parametrized

    return decorate
