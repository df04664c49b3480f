"""The server of a model: starts the processes that load it and predict, and tells of their end.

It imports what the handler needs and runs none of the handler's code, so that it can fork at any
time; the slow part of a start, the imports, is done once. One fork loads the model. Where it can be
forked in turn, it stays as a template whose forks predict and share its memory: a process that
crashed is replaced within milliseconds, and N of them need the memory of one model. Where it cannot
(it has threads, or a GPU), it predicts itself, and a new one has to load the model again.

Everything happens in one thread: a select loop over clients, processes, and their standard errors.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runinference.process.child import load
from runinference.process.control import (
    Acquire,
    Died,
    Fork,
    Granted,
    Hello,
    Idle,
    Kill,
    ModelInfo,
    Raised,
    Ready,
    Started,
    Template,
    how_it_ended,
    make_control,
    receive_message,
    send_message,
)
from runinference.process.doors import Listener, OneClient
from runinference.process.forking import fork
from runinference.process.member import ModelProcess
from runinference.versions import ModelVersion

__all__ = ["ModelServer"]


class _Waiting(NamedTuple):
    client: socket.socket
    request: int
    channel: int


class ModelServer:
    """One model's processes and clients.

    Args:
        version: the model.
        door: where clients come from: the only one, or a socket where any number connects.
    """

    def __init__(self, version: ModelVersion, door: OneClient | Listener) -> None:
        self._version = version
        self._copies = version.execution.copies or 1
        self._door = door
        self._selector = selectors.DefaultSelector()
        self._clients: set[socket.socket] = set()
        self._processes: list[ModelProcess] = []
        self._waiting: deque[_Waiting] = deque()
        self._strays: dict[int, int] = {}
        self._info: ModelInfo | None = None
        self._is_new = False
        self._modules: Sequence[str] = getattr(version.handler, "imports", ())
        self._watch_children()
        if isinstance(door, Listener):
            self._register(door.socket, self._accept)

    def run(self) -> None:
        """Serve until the last client is gone."""
        self._accept()
        while self._clients:
            self._step()
            if not self._clients:
                self._accept()
        self._door.close()
        for process in self._processes:
            process.hang_up()
        while self._processes:
            self._step()

    def _step(self) -> None:
        deadlines = [p.deadline for p in self._processes if p.deadline is not None]
        wait = max(min(deadlines) - time.monotonic(), 0) if deadlines else None
        for key, _ in self._selector.select(wait):
            if self._selector.get_map().get(key.fileobj) == key:  # or an event before it closed it
                key.data()
        now = time.monotonic()
        for process in self._processes:
            process.end_if_late(now)

    # Clients

    def _accept(self) -> None:
        for client in self._door.enter():
            self._clients.add(client)
            self._register(client, functools.partial(self._read_client, client))
            send_message(client, Started())

    def _read_client(self, client: socket.socket) -> None:
        message, files = receive_message(client)
        if isinstance(message, Acquire):
            self._waiting.append(_Waiting(client, message.number, files[0]))
            self._serve_waiting()
        elif isinstance(message, Kill):
            for process in self._processes:
                if process.client is client:
                    process.kill()
        elif message is None:
            self._drop_client(client)

    def _drop_client(self, client: socket.socket) -> None:
        self._clients.discard(client)
        self._unregister(client)
        client.close()
        for waiting in [w for w in self._waiting if w.client is client]:
            self._waiting.remove(waiting)
            os.close(waiting.channel)
        for process in self._processes:
            if process.client is client:
                process.drop_client()

    def _serve_waiting(self) -> None:
        for process in self._processes:
            if process.is_idle and self._waiting:
                assert self._info is not None
                waiting = self._waiting.popleft()
                process.serve(waiting.client, waiting.request, waiting.channel)
                os.close(waiting.channel)
                granted = Granted(waiting.request, self._info, self._is_new)
                send_message(waiting.client, granted)
                self._is_new = False
        while self._is_one_more_needed():
            self._start_one()

    def _is_one_more_needed(self) -> bool:
        starting = sum(process.is_starting for process in self._processes)
        predicting = sum(not process.is_template for process in self._processes)
        # one load at a time: it may make a template, whose forks are quicker, and share its memory
        may_start = not starting or any(process.is_template for process in self._processes)
        return may_start and len(self._waiting) > starting and predicting < self._copies

    def _fail_waiting(self, message: Any) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            os.close(waiting.channel)
            send_message(waiting.client, message._replace(number=waiting.request))

    # Processes

    def _start_one(self) -> None:
        own, theirs = make_control()
        reading, writing = os.pipe()
        template = next((p for p in self._processes if p.is_template), None)
        validate = self._info is None
        if template is None:
            self._import_modules()
            pid: int | None = self._fork_loader(theirs, writing, validate, (own, reading))
        else:
            pid = None  # it tells
            send_message(template.control, Fork(validate), [theirs.fileno(), writing])
        theirs.close()
        os.close(writing)
        process = ModelProcess(pid, own, reading, self._version.execution.timeout)
        self._processes.append(process)
        self._register(own, lambda: self._read_process(process))
        self._register(reading, lambda: self._read_errors(process))

    def _fork_loader(
        self,
        control: socket.socket,
        errors: int,
        validate: bool,
        others: tuple[socket.socket, int],
    ) -> int:
        def run() -> None:
            self._close_all()
            others[0].close()
            os.close(others[1])
            os.dup2(errors, 2)
            os.close(errors)
            load(control, self._version, validate)

        return fork(run)

    def _import_modules(self) -> None:
        """Import what a load has imported, so that the next one need not."""
        for name in self._modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        self._modules = ()

    def _read_process(self, process: ModelProcess) -> None:
        message, _ = receive_message(process.control)
        if isinstance(message, Hello):
            process.pid = message.pid
            if message.pid in self._strays:
                self._bury(process, self._strays.pop(message.pid))
        elif isinstance(message, Template):
            process.become_template()
            self._serve_waiting()
        elif isinstance(message, Ready):
            self._is_new = self._is_new or self._info is None
            self._info, self._modules = message.info, message.modules
            process.become_idle()
            self._serve_waiting()
        elif isinstance(message, Idle):
            process.become_idle()
            self._serve_waiting()
        elif isinstance(message, Raised):
            process.has_told = True
            self._fail_waiting(message)
        elif process.pid is None:  # it ended before it told its number
            self._bury(process, None)
        else:
            self._unregister(process.control)  # its end will be told

    def _read_errors(self, process: ModelProcess) -> None:
        if not process.read_errors():
            self._unregister(process.errors)

    def _bury(self, process: ModelProcess, code: int | None) -> None:
        process.kill()  # what is left of its group
        self._processes.remove(process)
        self._unregister(process.control)
        self._unregister(process.errors)
        died = Died(process.request, how_it_ended(code), process.last_lines(), process.is_late)
        process.close()
        if process.client is not None:
            send_message(process.client, died)
        elif process.is_starting and not process.has_told:
            self._fail_waiting(died)
        self._serve_waiting()

    # Events

    def _watch_children(self) -> None:
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._register(reading, lambda: self._reap(reading))

    def _reap(self, reading: int) -> None:
        os.read(reading, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            process = next((p for p in self._processes if p.pid == pid), None)
            if process is None:
                self._strays[pid] = os.waitstatus_to_exitcode(status)
            else:
                self._bury(process, os.waitstatus_to_exitcode(status))

    def _register(self, file: Any, act: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, act)

    def _unregister(self, file: Any) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def _close_all(self) -> None:
        """In a fork: let go of what belongs to the server."""
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        for waiting in self._waiting:
            os.close(waiting.channel)  # or its client would not learn of the end of who serves it
        self._selector.close()
