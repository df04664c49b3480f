"""Start the server of a model, for this program alone or for all of this machine that need it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys

import cloudpickle

from runinference._version import __version__
from runinference.errors import ModelCrashedError, ModelLoadError, ModelTimeoutError
from runinference.process.carried_errors import restore
from runinference.process.connection import Connection, ServerEnded, end
from runinference.process.control import (
    Raised,
    Started,
    how_it_ended,
    make_control,
    receive_message,
)
from runinference.process.doors import Listener, is_own_peer, locked, log_of, private_folder
from runinference.versions import ModelVersion

__all__ = ["connect"]

# What interpreter and imports may take where there is a time limit; loads are timed on their own.
_START_SECONDS = 300.0
_IMPORTING = "importing what the handler needs"


def connect(version: ModelVersion) -> Connection:
    """A connection to the model's server, which is started if need be.

    Raises:
        ModelCrashedError: it ended while it imported what the handler needs.
        ModelTimeoutError: that took too long.
        ModelLoadError: not on Linux, or the folder where a shared one is found is not private.
        ServerEnded: a shared one ended just now.
        Exception: whatever the import raised.
    """
    if sys.platform != "linux":
        raise ModelLoadError(
            f"a model in a process of its own needs Linux, and this is {sys.platform}: leave "
            "process, timeout and copies out of its Execution"
        )
    return _start_own(version) if version.execution.copies is None else _join(version)


def _start_own(version: ModelVersion) -> Connection:
    """A server that ends with this program, or when the connection is closed."""
    own, theirs = make_control()
    with theirs:
        server = _start(version, theirs, None)
    try:
        _wait(own, version)
    except ModelTimeoutError:
        own.close()
        end(server, 0)
        raise
    except ServerEnded:
        own.close()
        end(server)
        raise ModelCrashedError(
            f"the model's server {how_it_ended(server.returncode)} while {_IMPORTING}: its "
            "standard error tells why"
        ) from None
    except BaseException:
        own.close()
        end(server)
        raise
    return Connection(own, server)


def _join(version: ModelVersion) -> Connection:
    """A server that all programs of this user share, and that ends after the last of them."""
    folder = private_folder()
    path = str(folder / f"{_digest(version)}.sock")
    own = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with locked(folder):
            try:
                own.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                listener = Listener(path)
                own.connect(path)
                with listener.socket:
                    _start(version, listener.socket, path).wait()
        if not is_own_peer(own):
            raise PermissionError(f"the process that listens at {path} is another user's")
        _wait(own, version)
    except ServerEnded as error:
        own.close()
        raise ServerEnded(f"{error} while {_IMPORTING}: {log_of(path)} may tell why") from None
    except BaseException:
        own.close()
        raise
    return Connection(own)


def _start(
    version: ModelVersion, connection: socket.socket, path: str | None
) -> subprocess.Popen[bytes]:
    places = [str(place) or os.getcwd() for place in sys.path]
    server = subprocess.Popen(
        [
            sys.executable,
            # as multiprocessing does: warnings, optimisation, isolation
            *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # private
            "-P",
            "-c",
            f"import sys; sys.path[:] = {places!r}; from runinference.process.main import main; "
            f"main({connection.fileno()}, {path!r})",
        ],
        stdin=subprocess.PIPE,
        pass_fds=[connection.fileno()],
        env={**os.environ, **(version.execution.env_vars or {})},
        start_new_session=True,
    )
    assert server.stdin is not None
    with contextlib.suppress(BrokenPipeError), server.stdin as stdin:
        stdin.write(cloudpickle.dumps(version))
    return server


def _wait(own: socket.socket, version: ModelVersion) -> None:
    """Until the server has imported what it needs."""
    own.settimeout(None if version.execution.timeout is None else _START_SECONDS)
    try:
        message, _ = receive_message(own)
    except TimeoutError:
        raise ModelTimeoutError(f"{_IMPORTING} took longer than {_START_SECONDS:g} s") from None
    own.settimeout(None)
    if isinstance(message, Raised):
        raise restore(message.error)
    if not isinstance(message, Started):
        raise ServerEnded("the model's server ended")


def _digest(version: ModelVersion) -> str:
    """Equal for what one server can serve: the same model, of the same run, run in the same way."""
    execution = version.execution
    told = (
        *(version.run, version.fingerprint, version.path, os.getcwd(), sys.executable, __version__),
        *(execution.copies, execution.timeout, execution.threads),
        sorted((execution.env_vars or {}).items()),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]
