"""The checks of the contract on handlers of many kinds, and which of them are left out.

Some checks start an interpreter that imports a framework. What they find hardly depends on a
handler's options, so that the usual run has them for one handler of each class in a file.
"""

import os

from runinference.testing import HandlerChecks

__all__ = ["IN_AN_INTERPRETER", "outcomes"]

IN_AN_INTERPRETER = {"check_framework_is_imported_late", "check_runs_in_another_process"}
EVERY_CHECK = "EVERY_CHECK" in os.environ  # as `make test-slow` has it

_interpreted = set()


class ChecksInThisProcess(HandlerChecks):
    """All but those that start an interpreter."""

    names = tuple(name for name in HandlerChecks.names if name not in IN_AN_INTERPRETER)


def outcomes(handler, **given):
    """What each check came to that was not passed; of those that failed, why."""
    in_an_interpreter = EVERY_CHECK or type(handler) not in _interpreted
    _interpreted.add(type(handler))
    checks = HandlerChecks if in_an_interpreter else ChecksInThisProcess
    return {
        result.name: result.message if result.outcome == "failed" else result.outcome
        for result in checks(**given).run(handler)
        if result.outcome != "passed"
    }
