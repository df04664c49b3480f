"""The program that a model's server is: what it does before it serves."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import socket
import sys

from runinference.process.carried_errors import carry
from runinference.process.control import Raised, send_message
from runinference.process.doors import Listener, OneClient, log_of
from runinference.process.forking import adopt_orphans
from runinference.process.server import ModelServer

__all__ = ["main"]

_MORE_LIKELY_VICTIM = 300


def main(connection: int, path: str | None = None) -> None:
    """Serve the program that has started this one, which writes what to serve to standard input.

    Args:
        connection: the open socket to it; with a path the one that listens there.
        path: where other programs connect too; the server then outlives the one that started it.
    """
    data = sys.stdin.buffer.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    opened = socket.socket(fileno=connection)
    if path is not None:
        _leave(path)
    faulthandler.enable()
    adopt_orphans()
    _become_likely_victim()
    door = OneClient(opened) if path is None else Listener(path, opened)
    try:
        version = pickle.loads(data)
    except Exception as error:  # noqa: BLE001 - a handler's module may raise anything
        for client in door.enter():
            send_message(client, Raised(carry(error)))
        door.close()
        return
    ModelServer(version, door).run()
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log_of(path))


def _leave(path: str) -> None:
    """Go on as nobody's child, and write to a file what this process and its forks print."""
    if os.fork():
        os._exit(0)
    log = os.open(log_of(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _become_likely_victim() -> None:
    """Where memory ends, the system ends a model rather than the pipeline."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        value = min(int(file.read()) + _MORE_LIKELY_VICTIM, 1000)
        file.seek(0)
        file.write(str(value))
