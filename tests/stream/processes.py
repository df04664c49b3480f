"""The example's pipeline as a process, and waiting for what it does."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "stream"


class Scoring:
    """``score_stream.py`` in processes, of which `stop_all` leaves none."""

    def __init__(self, url, models):
        self._command = [sys.executable, str(EXAMPLE / "score_stream.py")]
        self._command += [str(models / "first.joblib"), "--redis", url]
        self._command += ["--watch", f"{models}/*.joblib", "--refresh-s", "0.1", "--most", "50"]
        self._log = models.parent / "score.log"
        self._running = []

    def start(self):
        with self._log.open("a") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._running.append(process)
        return process

    def failed(self):
        """What it printed, for the message of a test that waits in vain."""
        return self._log.read_text()[-3000:]

    def stop_all(self):
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()


def until(condition, seconds=120, why=lambda: ""):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} seconds: {why()}")
