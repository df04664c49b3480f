"""The decorator: a test per check, failures that are expected, and no way to lose one unseen."""

import subprocess
import sys
import textwrap

import kit_handlers
import pytest

from runinference.errors import ConfigurationError
from runinference.testing import HandlerChecks, parametrize_with_checks

ROWS = [[1.0, 2.0, 3.0], [4.0, -1.0, 0.5]]
PASSES = "check_options_are_typed"
FAILS = "check_options_are_documented"

pytest_plugins = ["pytester"]


@pytest.fixture
def outcomes(pytester, weights):
    """What becomes of a test module's tests, and what pytest says."""

    def run(test, handler="Undocumented", **given):
        arguments = "".join(f", {name}={value!r}" for name, value in given.items())
        pytester.makepyfile(
            f"""
import sys
sys.path.append({str(kit_handlers.__file__.rpartition("/")[0])!r})
import kit_handlers
from runinference.testing import parametrize_with_checks

@parametrize_with_checks([kit_handlers.{handler}({weights!r})], examples={ROWS}{arguments})
{textwrap.dedent(test)}"""
        )
        keywords = f"{PASSES} or {FAILS} or check_options_are_free or check_lengths"
        result = pytester.runpytest_inprocess("-k", keywords, "-rA", "-p", "no:cacheprovider")
        return result.parseoutcomes(), result.stdout.str()

    return run


THREE_LINES = """
def test_handler(handler, check):
    check(handler)
"""


def test_each_check_is_a_test_with_a_name(outcomes):
    found, said = outcomes(THREE_LINES)
    found.pop("deselected")
    assert found == {"passed": 2, "failed": 1, "skipped": 1}
    assert f".py::test_handler[Undocumented-{FAILS}]" in said
    assert "CheckFailedError: the docstring of Undocumented.__init__() does not explain" in said
    assert "the handler has no length()" in said


def test_a_failure_that_is_expected(outcomes):
    found, said = outcomes(THREE_LINES, expected_failed_checks={FAILS: "nobody reads it"})
    found.pop("deselected")
    assert found == {"passed": 2, "skipped": 1, "xfailed": 1}
    assert "nobody reads it" in said


def test_a_check_that_passes_against_expectation_fails(outcomes):
    found, said = outcomes(THREE_LINES, expected_failed_checks={PASSES: "of old", FAILS: "so"})
    assert (found["failed"], found["passed"]) == (1, 1)
    assert "[XPASS(strict)] of old" in said


def test_a_check_that_does_not_apply_cannot_be_expected_to_fail(outcomes):
    found, said = outcomes(THREE_LINES, "Linear", expected_failed_checks={"check_lengths": "so"})
    assert found["failed"] == 1
    assert "check_lengths is expected to fail, but does not apply: the handler has no len" in said


LEFT_OUT = f"""
def test_handler(handler, check):
    if check.name != {FAILS!r}:
        check(handler)
"""
SWALLOWED = """
def test_handler(handler, check):
    try:
        check(handler)
    except AssertionError:
        pass
"""


def test_a_test_that_leaves_a_check_out_fails(outcomes):
    found, said = outcomes(LEFT_OUT)
    assert (found["failed"], found["passed"]) == (1, 2)
    assert f"the test has not run {FAILS}: call check(handler)" in said


def test_a_test_that_swallows_a_failure_fails(outcomes):
    found, said = outcomes(SWALLOWED)
    assert (found["failed"], found["passed"]) == (1, 2)
    assert "does not explain scale" in said


def test_a_check_that_is_left_out_cannot_be_an_expected_failure(outcomes):
    found, said = outcomes(LEFT_OUT, expected_failed_checks={FAILS: "so"})
    assert (found["failed"], found["passed"]) == (1, 2)
    assert f"the test has not run {FAILS}" in said


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_an_expected_failure_needs_a_reason(reason):
    with pytest.raises(ConfigurationError, match=rf"\['{FAILS}'\] is .*: say why"):
        parametrize_with_checks([], examples=ROWS, expected_failed_checks={FAILS: reason})


def test_an_unknown_check_is_an_error():
    message = "no check 'check_option_are_typed'; did you mean 'check_options_are_typed'"
    with pytest.raises(ConfigurationError, match=message):
        HandlerChecks(examples=ROWS, expected_failed_checks={"check_option_are_typed": "so"})


@pytest.mark.parametrize("given", [{}, {"examples": ROWS[:1]}])
def test_two_examples_are_needed(given):
    with pytest.raises(ConfigurationError, match="needs 2 examples or more"):
        HandlerChecks(**given)


def test_results_without_pytest(weights):
    expected = {FAILS: "nobody reads it", PASSES: "of old", "check_lengths": "so"}
    checks = HandlerChecks(examples=ROWS, expected_failed_checks=expected)
    handler = kit_handlers.Undocumented(weights)
    results = {name: checks._result(name, handler) for name in expected}
    assert results[FAILS].outcome == "expected failure"
    assert results[FAILS].message == "nobody reads it"
    assert results[PASSES].outcome == results["check_lengths"].outcome == "failed"
    assert "but passes: take it out of expected_failed_checks" in results[PASSES].message
    assert "but does not apply" in results["check_lengths"].message


def test_a_handler_with_functions_is_not_a_handler_alone(weights):
    checks = HandlerChecks(examples=ROWS)
    with pytest.raises(ConfigurationError, match="with functions or without batching"):
        checks.run(kit_handlers.Linear(weights).with_preprocess_fn(list))
    with pytest.raises(ConfigurationError, match="given the class Linear"):
        checks.run(kit_handlers.Linear)


def test_pytest_is_imported_by_the_decorator_alone():
    program = """
import sys
sys.modules["pytest"] = None
from runinference.testing import HandlerChecks, parametrize_with_checks
print(len(HandlerChecks.names))
try:
    parametrize_with_checks([], examples=[1, 2])
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == str(len(HandlerChecks.names))
    assert "pytest" in done.stdout.splitlines()[1]
