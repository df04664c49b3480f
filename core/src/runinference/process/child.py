"""What the processes of a model do: load it, fork, predict."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from runinference.batch import RowBatch, TableBatch
from runinference.errors import InferenceError
from runinference.memory import resident_bytes
from runinference.model import LocalModel
from runinference.process.carried_errors import carry, portable
from runinference.process.channel import ChannelClosed, Deadline, receive, send
from runinference.process.control import (
    Fork,
    Hello,
    Idle,
    ModelInfo,
    Raised,
    Ready,
    Template,
    receive_message,
    send_message,
)
from runinference.process.forking import Footprint, fork
from runinference.process.packing import fold, fold_batch, pack, unfold_batch, unpack
from runinference.results import ExampleFailed, any_is
from runinference.versions import ModelVersion

__all__ = ["load"]

_MOST_BYTES = 64 * 1024
_SIMPLE = (str, int, float, bool, bytes, tuple, list, dict, type(None))


def load(control: socket.socket, version: ModelVersion, validate: bool) -> None:
    """Load the model; then fork processes that predict, or predict in this one if it cannot be
    forked.

    Args:
        control: to the server.
        version: what to load.
        validate: whether the model is to be validated, which a load after a crash need not.
    """
    known = set(sys.modules)
    footprint = Footprint()
    memory = resident_bytes()
    try:
        # OpenMP keeps the threads of its first parallel work, and what has them cannot be forked.
        with threadpool_limits(1, user_api="openmp"):
            model = LocalModel(version, start=False)
    except Exception as error:  # noqa: BLE001 - a handler may raise anything
        send_message(control, Raised(carry(error)))
        return
    if not footprint.is_forkable():
        imported = tuple(name for name in sys.modules if name not in known)
        _predict(control, model, version, memory, validate, imported)
        return
    send_message(control, Template())
    while True:
        message, files = receive_message(control)
        if not isinstance(message, Fork):
            return
        own, errors = files

        def run(own: int = own, errors: int = errors, validate: bool = message.validate) -> None:
            control.close()
            os.dup2(errors, 2)
            with socket.socket(fileno=own) as connected:
                send_message(connected, Hello(os.getpid()))
                _predict(connected, model, version, memory, validate, ())

        fork(run, orphan=True)
        os.close(own)
        os.close(errors)


def _predict(
    control: socket.socket,
    model: LocalModel,
    version: ModelVersion,
    memory: int,
    validate: bool,
    imported: tuple[str, ...],
) -> None:
    try:
        model.start(version.execution, validate=validate)
    except Exception as error:  # noqa: BLE001 - a handler may raise anything
        send_message(control, Raised(carry(error)))
        return
    grown = max(resident_bytes() - memory, 0)
    send_message(control, Ready(_describe(model, version, grown), imported))
    while True:
        message, files = receive_message(control)
        if message is None:
            break
        with socket.socket(fileno=files[0]) as channel:
            _serve(channel, model)
        send_message(control, Idle())
    model.close()


def _serve(channel: socket.socket, model: LocalModel) -> None:
    """Answer one call after the other, until the channel is closed."""
    try:
        while True:
            answer = _answer(receive(channel, Deadline(None)), model)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            send(channel, answer, Deadline(None))
    except ChannelClosed:
        return


def _answer(buffers: Sequence[Any], model: LocalModel) -> list[Any]:
    try:
        operation, folded, inference_args = unpack(buffers)
        batch = unfold_batch(folded)
    except Exception as error:  # noqa: BLE001 - a class that is absent here can raise anything
        return pack(carry(_not_sent("examples", "to", error)))
    try:
        if operation == "prepare":
            ready = model.prepare(batch)
            result: Any = (fold_batch(ready).prepared, ready.lengths)
        else:
            result = model.predict(batch, inference_args)
    except Exception as error:  # noqa: BLE001 - a handler may raise anything
        return pack(carry(error))
    if isinstance(result, list):
        result = fold(_portable(result))
    try:
        return pack((result,))
    except Exception as error:  # noqa: BLE001 - what cannot be pickled can raise anything
        return pack(carry(_not_sent("predictions", "from", error)))


def _not_sent(what: str, direction: str, error: Exception) -> InferenceError:
    made = InferenceError(
        f"the {what} cannot be sent {direction} the model's process: {type(error).__name__}: "
        f"{error}"
    )
    made.__cause__ = error
    return made


def _portable(predictions: list[Any]) -> list[Any]:
    if not any_is(predictions, ExampleFailed):
        return predictions
    return [
        ExampleFailed(portable(p.error)) if isinstance(p, ExampleFailed) else p for p in predictions
    ]


def _describe(model: LocalModel, version: ModelVersion, grown: int) -> ModelInfo:
    learnt = {n: v for n, v in model.learnt(version.handler).items() if _is_simple(v)}
    features = model.feature_names()
    return ModelInfo(
        model.name,
        model.model_id,
        grown,
        None if features is None else tuple(features),
        model.prepares(RowBatch),
        model.prepares(TableBatch),
        learnt,
    )


def _is_simple(value: Any) -> bool:
    if not isinstance(value, _SIMPLE):
        return False
    try:
        data = pickle.dumps(value)
        pickle.loads(data)
    except Exception:  # noqa: BLE001 - what cannot be pickled can raise anything
        return False
    return len(data) <= _MOST_BYTES
