"""Run faulty handlers, each in a process of its own that it may take with it.

Takes a JSON list of cases: each says whose transform it is (``beams`` or ``ours``), the handler's
name and the arguments of ``with_exception_handling``. Prints a line of JSON per case: the status of
its process, and the error, the results and the failures of its run where it came to an end.
"""

import contextlib
import json
import logging
import os
import signal
import sys

import faulty
from running import run_beams, run_ours

NUMBERS = [1, 2, 3, 4]


def run(whose, name, handling):
    """The error, the results and the failures, each of these with its reason as text."""
    transform = {"beams": run_beams, "ours": run_ours}[whose]
    outcome = transform(getattr(faulty, name)(), NUMBERS, **handling)
    failures = [
        [failure[0], failure[1][1]] if whose == "beams" else [failure.example, failure.message]
        for failure in outcome.failures
    ]
    return [repr(outcome.error), outcome.results, failures]


def apart(case):
    """What a process said that does nothing else, and how it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.write(writer, json.dumps(run(*case)).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # processes that Beam has left behind
    with open(reader) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(status), json.loads(said or "null")


if __name__ == "__main__":
    logging.disable()
    for case in json.loads(sys.argv[1]):
        print(json.dumps(apart(case)), flush=True)
