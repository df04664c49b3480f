"""All checks by name, and what they found out about a handler."""

from __future__ import annotations

import dataclasses
import unittest
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import pyarrow as pa

from runinference.description import check_handler, describe
from runinference.errors import CheckFailedError, ConfigurationError
from runinference.hints import did_you_mean
from runinference.testing import (
    distributions,
    loading,
    memory,
    options,
    pickling,
    pipelines,
    predicting,
    tables,
)
from runinference.testing.subject import Subject

__all__ = ["CheckResult", "HandlerChecks", "NotAnExample"]

_FUNCTIONS: tuple[Callable[[Subject], None], ...] = (
    loading.check_loads_twice,
    loading.check_two_loads_predict_the_same,
    loading.check_load_leaves_the_handler_alone,
    loading.check_closed_model_loads_again,
    loading.check_missing_model_is_named,
    loading.check_update_model_path,
    pickling.check_pickles_before_load,
    pickling.check_pickles_after_load,
    predicting.check_one_prediction_per_example,
    predicting.check_predictions_are_in_order,
    predicting.check_batch_equals_singles,
    predicting.check_empty_batch,
    predicting.check_exceptions_reach_the_caller,
    predicting.check_lengths,
    predicting.check_threads_share_a_model,
    memory.check_batch_is_not_changed,
    memory.check_outputs_own_their_memory,
    memory.check_results_outlast_the_next_call,
    memory.check_bytes_are_counted,
    tables.check_tables_agree_with_examples,
    tables.check_table_is_not_changed,
    options.check_options_are_keywords,
    options.check_options_are_typed,
    options.check_options_are_documented,
    options.check_options_are_free,
    distributions.check_framework_is_imported_late,
    distributions.check_requirement_on_runinference,
    pipelines.check_runs_in_a_pipeline,
    pipelines.check_runs_in_another_process,
)
_CHECKS = MappingProxyType({function.__name__: function for function in _FUNCTIONS})

_FEWEST = 2


class NotAnExample:
    """An example that no model can take, unless it takes anything."""

    def __repr__(self) -> str:
        return "an object that is no example"


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What a check found out.

    Attributes:
        name: of the check.
        outcome: "expected failure" where the check failed and was expected to.
        message: why it failed or was skipped; "" where it passed.
    """

    name: str
    outcome: Literal["passed", "failed", "skipped", "expected failure"]
    message: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandlerChecks:
    """Every rule of the contract that handlers keep, with what is needed to check them.

    Args:
        examples: two or more that the model can take and tells apart; they are copied for each
            check. Without them, the rows of ``table``.
        table: the examples as a ``pyarrow.Table``, a row each in the same order; needed where the
            handler defines ``collate_table``.
        features: the columns of the table that the model sees, see ``RunTableInference``.
        other_model: the path of a model that predicts otherwise, for ``update_model_path``.
        inference_args: arguments of every call of the model.
        bad_example: something that the model cannot take.
        rtol: how far predictions of one example may be apart, relative to each other.
        atol: how far they may be apart besides.
        expected_failed_checks: checks that the handler does not pass, each with the reason; one
            that passes all the same is a failure.

    Raises:
        ConfigurationError: too few examples, an unknown check, or one without a reason.
    """

    names: ClassVar[tuple[str, ...]] = tuple(_CHECKS)
    """The names of all checks."""

    examples: Sequence[Any] | None = None
    table: pa.Table | None = None
    features: Sequence[str] | None = None
    other_model: str | None = None
    inference_args: dict[str, Any] | None = None
    bad_example: Any = dataclasses.field(default_factory=NotAnExample)
    rtol: float = 1e-4
    atol: float = 1e-5
    expected_failed_checks: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.table if self.examples is None else self.examples
        if given is None or len(given) < _FEWEST:
            raise ConfigurationError(
                f"HandlerChecks needs {_FEWEST} examples or more, as examples= or as the rows of "
                "table=, that the model can take and predicts differently"
            )
        for name, reason in self.expected_failed_checks.items():
            if name not in _CHECKS:
                raise ConfigurationError(
                    f"expected_failed_checks: no check {name!r}; "
                    f"{did_you_mean(name, _CHECKS)}there are {', '.join(_CHECKS)}"
                )
            if not isinstance(reason, str) or not reason.strip():
                raise ConfigurationError(
                    f"expected_failed_checks[{name!r}] is {reason!r}: say why the handler cannot "
                    "pass it"
                )

    def check(self, name: str, handler: Any) -> None:
        """Run one check, expected to fail or not.

        Args:
            name: of the check.
            handler: an object with ``load_model`` and ``run_inference``; it is not loaded itself.

        Raises:
            CheckFailedError: the handler does not pass it.
            unittest.SkipTest: it does not apply to the handler.
            ConfigurationError: no handler, or one with functions of a pipeline's added.
            KeyError: no such check.
        """
        __tracebackhide__ = True
        _CHECKS[name](Subject(_plain(handler), self))

    def run(self, handler: Any) -> list[CheckResult]:
        """Run every check.

        Args:
            handler: as for :meth:`check`.

        Raises:
            ConfigurationError: no handler, or one with functions of a pipeline's added.
        """
        _plain(handler)
        return [self._result(name, handler) for name in self.names]

    def _result(self, name: str, handler: Any) -> CheckResult:
        reason = self.expected_failed_checks.get(name)
        try:
            self.check(name, handler)
        except CheckFailedError as error:
            if reason is not None:
                return CheckResult(name, "expected failure", reason)
            return CheckResult(name, "failed", str(error))
        except unittest.SkipTest as skip:
            if reason is None:
                return CheckResult(name, "skipped", str(skip))
            return CheckResult(name, "failed", unexpected(name, f"does not apply: {skip}"))
        except Exception as error:  # noqa: BLE001  # of the check itself; the others go on
            return CheckResult(name, "failed", f"{type(error).__name__}: {error}")
        if reason is not None:
            return CheckResult(name, "failed", unexpected(name, "passes"))
        return CheckResult(name, "passed")


def unexpected(name: str, what: str) -> str:
    """The message about a check that was expected to fail and does not."""
    return f"{name} is expected to fail, but {what}: take it out of expected_failed_checks"


def _plain(handler: Any) -> Any:
    described = describe(check_handler(handler, "HandlerChecks"))
    if described.preprocess_fns or described.postprocess_fns or described.skips_batching:
        raise ConfigurationError(
            f"HandlerChecks was given {described.name} with functions or without batching: the "
            "checks are about the handler alone, give it as it is constructed"
        )
    return handler
