"""Where the clients of a model's server come from, and the folder where workers find it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runinference.errors import ModelLoadError

__all__ = ["Listener", "OneClient", "is_own_peer", "locked", "log_of", "private_folder"]

_BACKLOG = 128
# The path of a socket has at most 107 characters.
_LONGEST = 50


class OneClient:
    """The program that started the server, over an open socket.

    Args:
        client: the socket.
    """

    def __init__(self, client: socket.socket) -> None:
        self._clients = [client]

    def enter(self) -> list[socket.socket]:
        """The client, once."""
        entered, self._clients = self._clients, []
        return entered

    def close(self) -> None:
        """Nobody else can come."""


class Listener:
    """Any program of the same user that connects to a path.

    Args:
        path: in the private folder.
        listening: the socket, where another process has bound it; made and bound where None.
    """

    def __init__(self, path: str, listening: socket.socket | None = None) -> None:
        self._path = path
        if listening is None:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # of a server that was killed
            listening.bind(path)
            listening.listen(_BACKLOG)
        self.socket = listening
        self._inode = os.stat(path).st_ino

    def enter(self) -> list[socket.socket]:
        """Everybody who waits."""
        self.socket.setblocking(False)
        entered: list[socket.socket] = []
        while True:
            try:
                client, _ = self.socket.accept()
            except BlockingIOError:
                return entered
            except OSError as error:  # of one who did not wait
                if error.errno != errno.ECONNABORTED:
                    raise
                continue
            client.setblocking(True)
            if is_own_peer(client):
                entered.append(client)
            else:
                client.close()

    def close(self) -> None:
        """Let nobody in any more, and leave nothing behind."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        self.socket.close()


def is_own_peer(connected: socket.socket) -> bool:
    """Whether the process at the other end is of the same user; true where the system cannot tell,
    and the folder's permissions have to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())


def private_folder() -> Path:
    """The user's folder for sockets, which nobody else can read or write.

    Raises:
        ModelLoadError: somebody else has made it, or given others access to it.
    """
    base = tempfile.gettempdir()
    if len(base) > _LONGEST:
        base = "/tmp"
    folder = Path(base) / f"runinference-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ModelLoadError(
            f"{folder} has to be a folder that only its user can read and write, since processes "
            "that share a model meet there: remove it, or set TMPDIR to another place"
        )
    return folder


def log_of(path: str) -> str:
    """The file for what the server at a path prints; there as long as the server is."""
    return f"{path.removesuffix('.sock')}.log"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time, of those that would start a server."""
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
