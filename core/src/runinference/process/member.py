"""What the server of a model knows of each process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

from runinference.process.control import Serve, send_message

__all__ = ["ModelProcess"]

_TAIL_BYTES = 16384
_TAIL_LINES = 12
_LINE_CHARACTERS = 300
# In what Python prints of a crash: frames of this package (a traceback has a comma before "in").
_OWN = re.escape(str(Path(__file__).parents[1]))
_TELLS_NOTHING = re.compile(rf'  File "({_OWN}/.*|<string>)", line \d+ in |Extension modules')
# What it takes to see that a channel is closed, and what a model has to release what it holds.
_NOTICE_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
_RETRY_SECONDS = 0.05
_CRASH = b"Fatal Python error: "
_PASSED_ON = 2  # this process's own standard error


class ModelProcess:
    """A process that loads a model, has it loaded for others, or predicts.

    Args:
        pid: its number; None until it tells.
        control: to it.
        errors: its standard error, to read from.
        timeout: seconds until it has to be ready.
    """

    def __init__(
        self, pid: int | None, control: socket.socket, errors: int, timeout: float | None
    ) -> None:
        self.pid = pid
        self.control = control
        self.errors = errors
        self.client: socket.socket | None = None
        self.request = 0
        self.is_starting = True
        self.is_template = False
        self.is_late = False
        self.has_told = False
        self._is_ending = False
        self._has_crashed = False
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self._tail = b""
        os.set_blocking(errors, False)

    @property
    def is_idle(self) -> bool:
        """Whether it can serve a client."""
        return not (self.is_starting or self.is_template or self.client is not None)

    def become_template(self) -> None:
        """It has loaded the model, and forks."""
        self.is_starting, self.is_template, self.deadline = False, True, None

    def become_idle(self) -> None:
        """It waits for a client."""
        self.is_starting, self.client, self.deadline = False, None, None
        if self._is_ending:
            self.hang_up()

    def serve(self, client: socket.socket, request: int, channel: int) -> None:
        """Let it serve a client's request."""
        self.client, self.request = client, request
        send_message(self.control, Serve(), [channel])

    def drop_client(self) -> None:
        """The client is gone: end it soon if it does not notice."""
        self.deadline = time.monotonic() + _NOTICE_SECONDS

    def hang_up(self) -> None:
        """Let it end by itself, once it is idle, and end it if that takes long."""
        self._is_ending = True
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_WR)
        if self.client is None:
            self.deadline = time.monotonic() + _CLOSE_SECONDS
        else:
            self.drop_client()

    def kill(self) -> None:
        """End it, whatever it is doing, with all that it has started."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def end_if_late(self, now: float) -> None:
        """Kill it where its time is over."""
        if self.deadline is not None and self.deadline <= now:
            self.is_late = True
            self.kill()
            # one that has not told its number yet is asked again
            self.deadline = None if self.pid is not None else now + _RETRY_SECONDS

    def read_errors(self) -> bool:
        """Pass its standard error on; False at its end."""
        try:
            data = os.read(self.errors, 65536)
        except BlockingIOError:
            return True
        # Where a crash was is told by the error; a search for the example to blame has many.
        shown, crash, _ = data.partition(_CRASH)
        with contextlib.suppress(OSError):
            if not self._has_crashed:
                os.write(_PASSED_ON, shown)
        self._has_crashed = self._has_crashed or bool(crash)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        return bool(data)

    def last_lines(self) -> str:
        """The end of what it wrote to its standard error."""
        before = None
        while before != self._tail:
            before = self._tail
            self.read_errors()
        lines = self._tail.decode(errors="replace").splitlines()
        told = [line for line in lines if line and not _TELLS_NOTHING.match(line)]
        return "\n".join(line[:_LINE_CHARACTERS] for line in told[-_TAIL_LINES:])

    def close(self) -> None:
        """Let go of its files."""
        self.control.close()
        os.close(self.errors)
