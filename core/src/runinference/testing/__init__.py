"""Check that a handler keeps the contract: a test suite for its author, in three lines::

    @parametrize_with_checks([AcmeHandler("model.txt")], examples=[[1.0, 2.0], [3.0, 4.0]])
    def test_handler(handler, check):
        check(handler)

pytest is needed for the decorator alone; :class:`HandlerChecks` runs the same checks without it.
"""

from runinference.testing.checks import CheckResult, HandlerChecks
from runinference.testing.parametrize import parametrize_with_checks

__all__ = ["CheckResult", "HandlerChecks", "parametrize_with_checks"]
