"""A proxy on loopback that harms what goes through it, as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

__all__ = ["Cut", "Proxy", "Refuse", "Reply", "Rewrite", "Wait", "delayed_relay"]


@dataclasses.dataclass(frozen=True)
class Reply:
    """Answer instead of the server, which never sees the request."""

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b'{"error": "as the proxy was told"}'


@dataclasses.dataclass(frozen=True)
class Cut:
    """Reset the connection in the middle of the answer's body."""


@dataclasses.dataclass(frozen=True)
class Refuse:
    """Close the connection without an answer, once the server has answered."""


@dataclasses.dataclass(frozen=True)
class Wait:
    """Seconds before the first byte of the answer."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Rewrite:
    """Another body in place of the server's."""

    change: Callable[[bytes], bytes]


Fault = Reply | Cut | Refuse | Wait | Rewrite


class Proxy:
    """Passes HTTP requests on to a server on loopback.

    Args:
        port: of the server.
        fault: of the so-manieth POST request, from 1 on; None for one that is to be left alone.

    `posts` counts the POST requests, `answered` those that the server answered with 200.
    """

    def __init__(self, port: int, fault: Callable[[int], Fault | None] = lambda number: None):
        self.fault = fault
        self.posts = 0
        self.answered = 0
        self.together = 0
        self._active = 0
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Hang up on everybody, and listen no more."""
        self._run(self._stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            _reset(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request, _, is_post = await _message(reader)
        if not is_post:
            head, body = await self._ask(request)
            writer.write(head + body)
            return True
        self.posts += 1
        fault = self.fault(self.posts)
        if isinstance(fault, Reply):
            writer.write(_reply(fault))
            return True
        self._active += 1
        self.together = max(self.together, self._active)
        try:
            head, body = await self._ask(request)
        finally:
            self._active -= 1
        self.answered += b" 200 " in head.split(b"\r\n")[0]
        if isinstance(fault, Refuse):
            return False
        if isinstance(fault, Cut):
            writer.write(head + body[: len(body) // 2])
            await writer.drain()
            await asyncio.sleep(0.02)  # or the reset overtakes what was sent
            return False
        if isinstance(fault, Wait):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Rewrite):
            body = fault.change(body)
            head = _with_length(head, len(body))
        writer.write(head + body)
        return True

    async def _ask(self, request: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(request)
            whole, end, _ = await _message(reader)
            return whole[:end], whole[end:]
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, int, bool]:
    """A request or a response, where its head ends, and whether it is a POST request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length), len(head), head.startswith(b"POST ")


def _reply(reply: Reply) -> bytes:
    headers = {"Content-Type": "application/json", **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} told", *(f"{n}: {v}" for n, v in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(reply.body)}", "", ""])
    return head.encode() + reply.body


def _with_length(head: bytes, length: int) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines[:-2], b"Content-Length: %d" % length, b"", b""])


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def delayed_relay(port: int, upstream: int, seconds: float) -> None:
    """Pass bytes on, those of the server so much later; for ever."""

    async def relay(reader, writer, delay):
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send():
            while True:
                due, part = await queue.get()
                await asyncio.sleep(max(due - time.monotonic(), 0))
                writer.write(part)
                if not part:
                    writer.close()
                    return

        sending = asyncio.create_task(send())
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(1 << 16):
                queue.put_nowait((time.monotonic() + delay, part))
        queue.put_nowait((time.monotonic() + delay, b""))
        await sending

    async def serve(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", upstream)
        for one in (writer, upstream_writer):
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(
            relay(reader, upstream_writer, 0), relay(upstream_reader, writer, seconds)
        )

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(delayed_relay(0, int(sys.argv[1]), float(sys.argv[2])))
