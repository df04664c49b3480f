"""Exceptions that go from one process to another."""

from __future__ import annotations

import pickle
import traceback
from typing import NamedTuple

import cloudpickle

from runinference.errors import InferenceError

__all__ = ["CarriedError", "ChildTraceback", "carry", "portable", "restore"]

# A message about a process has to fit into one packet.
_MOST_BYTES = 128 * 1024
_MOST_CHARACTERS = 16 * 1024


class ChildTraceback(Exception):
    """Where an exception was raised, as text: the cause of the exception that arrived."""


class CarriedError(NamedTuple):
    """An exception on its way.

    Attributes:
        data: its pickle; None where it cannot be pickled and unpickled.
        kind: its class's name.
        text: its message.
        traceback: as Python prints it.
    """

    data: bytes | None
    kind: str
    text: str
    traceback: str


def carry(error: BaseException) -> CarriedError:
    """The exception, ready to be sent."""
    printed = "".join(traceback.format_exception(error))[-_MOST_CHARACTERS:]
    text = _text(error)[:_MOST_CHARACTERS]
    return CarriedError(_dumped(error), type(error).__qualname__, text, printed)


def restore(carried: CarriedError) -> Exception:
    """The exception itself, or an InferenceError that tells of it; its cause tells where from."""
    error: object = None
    if carried.data is not None:
        try:
            error = pickle.loads(carried.data)
        except Exception:  # noqa: BLE001 - a class that is absent here can raise anything
            error = None
    if not isinstance(error, Exception):
        error = InferenceError(
            f"{carried.kind}: {carried.text} (an exception that cannot be brought here from the "
            "model's process as it is)"
        )
    error.__cause__ = ChildTraceback(f"\n\n{carried.traceback}")
    return error


def portable(error: Exception) -> Exception:
    """The exception itself if it can be sent, else an InferenceError that tells of it."""
    return error if _dumped(error) is not None else restore(carry(error))


def _dumped(error: BaseException) -> bytes | None:
    try:
        data: bytes = cloudpickle.dumps(error)
        restored = pickle.loads(data)  # many classes can be pickled, but not made again
    except Exception:  # noqa: BLE001 - what cannot be pickled can raise anything
        return None
    return data if type(restored) is type(error) and len(data) <= _MOST_BYTES else None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001 - a handler's own __str__
        return f"(its message cannot be told: {type(failed).__name__})"
