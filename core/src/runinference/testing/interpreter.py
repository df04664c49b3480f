"""Run a program in a fresh interpreter, which shares nothing with this one but its path."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["ChildError", "run_child"]

# The answer goes through a file, since libraries print.
_FRAME = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    sys.path[:] = pickle.load(file)
    payload = pickle.load(file)
{program}
with open(sys.argv[2], "wb") as file:
    pickle.dump(answer, file)
"""


class ChildError(Exception):
    """The program ended without an answer; the text is the last line that it said."""


def run_child(program: str, payload: Any, timeout_s: float = 600) -> Any:
    """Run a program that turns ``payload`` into ``answer``.

    Args:
        program: Python statements; both names are global variables of theirs.
        payload: anything that pickles, without classes that this program alone knows.
        timeout_s: after which it is killed.

    Raises:
        ChildError: it raised, was killed, or did not end in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder, "given"), Path(folder, "answered")
        with given.open("wb") as file:
            pickle.dump(sys.path, file)
            pickle.dump(payload, file)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _FRAME.format(program=program), str(given), str(answered)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise ChildError(f"it did not end within {timeout_s:g} seconds") from None
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
            raise ChildError(said[-1])
        with answered.open("rb") as file:
            return pickle.load(file)
