"""Buffers over a socket: a header with their sizes, then one after the other."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from runinference.process.packing import Buffers

__all__ = ["ChannelClosed", "Deadline", "make_channel", "receive", "send"]

_COUNT = struct.Struct("!I")
# The default of 200 KB halves the speed; larger ones than this win nothing.
_SOCKET_BYTES = 1 << 20


class ChannelClosed(ConnectionError):
    """The other process ended, or hung up."""


class Deadline:
    """When something has to be done.

    Args:
        seconds: from now; None for never.
        clock: seconds.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def left(self) -> float | None:
        """Seconds, or None for no bound.

        Raises:
            TimeoutError: none are left.
        """
        if self._end is None:
            return None
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


def make_channel() -> tuple[socket.socket, socket.socket]:
    """Two ends that are connected, with room for large messages."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    return ends


def send(channel: socket.socket, buffers: Buffers, deadline: Deadline) -> None:
    """Write all.

    Raises:
        ChannelClosed: nobody reads.
        TimeoutError: nobody reads in time.
    """
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    head = _COUNT.pack(len(sizes)) + struct.pack(f"!{len(sizes)}Q", *sizes)
    try:
        for buffer in (head, *buffers):
            channel.settimeout(deadline.left())
            channel.sendall(buffer)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed(str(error)) from None


def receive(channel: socket.socket, deadline: Deadline) -> list[bytearray]:
    """Read one message.

    Raises:
        ChannelClosed: the other end is gone.
        TimeoutError: it does not come in time.
    """
    [count] = _COUNT.unpack(_read(channel, _COUNT.size, deadline))
    sizes = struct.unpack(f"!{count}Q", _read(channel, 8 * count, deadline))
    return [_read(channel, size, deadline) for size in sizes]


def _read(channel: socket.socket, size: int, deadline: Deadline) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest.nbytes:
        channel.settimeout(deadline.left())
        try:
            count = channel.recv_into(rest)
        except ConnectionResetError as error:
            raise ChannelClosed(str(error)) from None
        if not count:
            raise ChannelClosed("the other end is closed")
        rest = rest[count:]
    return data
