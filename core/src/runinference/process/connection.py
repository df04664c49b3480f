"""Calls of a model's processes, which its server hands out."""

from __future__ import annotations

import socket
import subprocess
from typing import Any

from runinference.errors import InferenceError, ModelCrashedError, ModelTimeoutError
from runinference.process.carried_errors import CarriedError, restore
from runinference.process.channel import ChannelClosed, Deadline, make_channel, receive, send
from runinference.process.control import (
    Acquire,
    Died,
    Granted,
    Kill,
    Raised,
    how_it_ended,
    receive_message,
    send_message,
)
from runinference.process.packing import Buffers, unpack

__all__ = ["Connection", "ServerEnded", "end"]

_END_SECONDS = 10.0


class ServerEnded(Exception):
    """The server itself is gone, and has to be started again."""


class Connection:
    """To a server, for one call at a time.

    Args:
        control: the server is at its other end.
        server: the process, where this program has started it for itself alone.
    """

    def __init__(
        self, control: socket.socket, server: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._control = control
        self._server = server
        self._channel: socket.socket | None = None
        self._request = 0

    def acquire(self) -> Granted:
        """Wait for a process of the model.

        Raises:
            ModelCrashedError: it ended while it loaded the model.
            ModelTimeoutError: it took too long.
            ServerEnded: there is no server to ask.
            Exception: whatever the load raised.
        """
        self._request += 1
        own, theirs = make_channel()
        with theirs:
            send_message(self._control, Acquire(self._request), [theirs.fileno()])
        message = self._reply()
        if isinstance(message, Granted):
            self._channel = own
            return message
        own.close()
        if isinstance(message, Raised):
            raise restore(message.error)
        if isinstance(message, Died):
            if message.is_late:
                raise ModelTimeoutError(
                    f"loading the model took longer than timeout, and was ended{_told(message)}"
                )
            raise ModelCrashedError(
                f"the model's process {message.how} while it loaded the model{_told(message)}"
            )
        raise ServerEnded(f"the model's server {self._how_the_server_ended()}")

    @property
    def is_served(self) -> bool:
        """Whether a process of the model waits for calls."""
        return self._channel is not None

    def call(self, request: Buffers, what: str, timeout: float | None) -> Any:
        """The answer to a packed request.

        Args:
            request: an operation with its arguments.
            what: is done, for the errors.
            timeout: seconds it may take.

        Raises:
            ModelCrashedError: the process ended.
            ModelTimeoutError: it took too long, and was ended.
            Exception: whatever the handler raised.
        """
        assert self._channel is not None
        deadline = Deadline(timeout)
        try:
            send(self._channel, request, deadline)
            buffers = receive(self._channel, deadline)
        except TimeoutError:
            send_message(self._control, Kill())
            problem = f"{what} took longer than timeout={timeout} seconds, and was ended"
            raise self._lost(problem, what) from None
        except ChannelClosed:
            raise self._lost(None, what) from None
        except BaseException:
            self.release()  # an answer that comes later belongs to nobody
            raise
        try:
            answer = unpack(buffers)
        except Exception as error:
            raise InferenceError(
                f"the answer of {what} cannot be read here: {type(error).__name__}: {error}"
            ) from error
        if isinstance(answer, CarriedError):
            raise restore(answer)
        return answer[0]

    def close(self) -> None:
        """Let the server end, which lets the model release what it holds."""
        self.release()
        self._control.close()
        if self._server is not None:
            end(self._server)

    def release(self) -> None:
        """Let another connection have the process."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _lost(self, problem: str | None, what: str) -> InferenceError:
        """The error for a call whose process is gone."""
        self.release()
        message = self._reply()
        if problem is not None:
            return ModelTimeoutError(problem)
        if isinstance(message, Died):
            return ModelCrashedError(
                f"the model's process {message.how} while {what}{_told(message)}"
            )
        return ModelCrashedError(f"the model's server {self._how_the_server_ended()} while {what}")

    def _reply(self) -> Any:
        """The answer to the last request; None where the server has ended."""
        while True:
            message, _ = receive_message(self._control)
            if message is None or message.number == self._request:
                return message

    def _how_the_server_ended(self) -> str:
        if self._server is None:
            return "ended"
        end(self._server)
        return how_it_ended(self._server.returncode)


def end(server: subprocess.Popen[bytes], seconds: float = _END_SECONDS) -> None:
    """Wait until a server has ended, and end it where that takes long."""
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _told(message: Died) -> str:
    if not message.tail:
        return ""
    return f"; the end of its standard error:\n{message.tail}"
