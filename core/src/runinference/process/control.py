"""What the processes of a model tell each other besides examples and predictions: small messages,
each in one packet, some with an open file.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from runinference.process.carried_errors import CarriedError

__all__ = [
    "Acquire",
    "Died",
    "Fork",
    "Granted",
    "Hello",
    "Idle",
    "Kill",
    "ModelInfo",
    "Raised",
    "Ready",
    "Serve",
    "Started",
    "Template",
    "how_it_ended",
    "make_control",
    "receive_message",
    "send_message",
]

_PACKET_BYTES = 1 << 20


class ModelInfo(NamedTuple):
    """What is known of a model once it has loaded.

    Attributes:
        name: the handler's.
        model_id: names the model.
        byte_size: what its process grew by.
        features: the columns that it was trained on, where it knows them.
        prepares_rows: whether ``prepare`` has something to do for rows.
        prepares_tables: the same for tables.
        attributes: what the handler has learnt while it loaded.
    """

    name: str
    model_id: str | None
    byte_size: int
    features: tuple[str, ...] | None
    prepares_rows: bool
    prepares_tables: bool
    attributes: dict[str, Any]


class Started(NamedTuple):
    """To a client: the server has imported what the handler needs."""


class Acquire(NamedTuple):
    """To the server, with a channel: let a process of the model serve it, until it is closed.

    ``number``: of the request, which the answers tell.
    """

    number: int


class Kill(NamedTuple):
    """To the server: end the process that serves this client."""


class Granted(NamedTuple):
    """To a client: its channel is served.

    ``is_new``: the model was loaded for this request.
    """

    number: int
    info: ModelInfo
    is_new: bool


class Raised(NamedTuple):
    """To the server, and on to the clients that wait: the load raised."""

    error: CarriedError
    number: int = 0


class Died(NamedTuple):
    """To a client: the process that loaded its model, or served it, has ended.

    Attributes:
        number: of the request.
        how: signal or exit status, in words.
        tail: the last lines of its standard error.
        is_late: killed since a load took too long.
    """

    number: int
    how: str
    tail: str
    is_late: bool


class Template(NamedTuple):
    """To the server: the model is loaded, and this process forks others."""


class Fork(NamedTuple):
    """To a template, with the new process's two files: its socket, and its standard error."""

    validate: bool


class Hello(NamedTuple):
    """To the server: a template's new process tells its number."""

    pid: int


class Ready(NamedTuple):
    """To the server: this process can serve.

    ``modules``: what it has imported, for processes to come; empty where a template forks those.
    """

    info: ModelInfo
    modules: tuple[str, ...]


class Serve(NamedTuple):
    """To a process that predicts, with a channel: answer its calls until it is closed."""


class Idle(NamedTuple):
    """To the server: the channel was closed."""


def make_control() -> tuple[socket.socket, socket.socket]:
    """Two ends that are connected, for messages."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PACKET_BYTES)
    return ends


def send_message(control: socket.socket, message: Any, files: Sequence[int] = ()) -> bool:
    """Send; False where either end is closed."""
    try:
        socket.send_fds(control, [pickle.dumps(message)], list(files))
    except OSError:
        return False
    return True


def receive_message(control: socket.socket) -> tuple[Any, list[int]]:
    """The next message with its open files; None where the other end is closed."""
    try:
        data, files, _, _ = socket.recv_fds(control, _PACKET_BYTES, 2)
    except ConnectionResetError:
        return None, []
    return (pickle.loads(data) if data else None), files


def how_it_ended(code: int | None) -> str:
    """An exit status, or a signal's number below zero, in words."""
    if code is None:
        return "ended"
    if code < 0:
        number = -code
        name = f"signal {number}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(number).name
        hint = " (the system was out of memory?)" if number == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
    return f"ended with exit status {code}"
