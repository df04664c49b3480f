"""From whatever went wrong to one message with its remedy."""

from __future__ import annotations

import errno
import re

from runinference.errors import FatalExampleError, RunInferenceError

__all__ = ["RunFailedError", "UsageError", "explain", "original"]


class UsageError(RunInferenceError):
    """The command cannot be run as it was given; nothing was read or written."""


class RunFailedError(RunInferenceError):
    """The run ended without scoring every row; no results were left."""


def original(error: BaseException) -> BaseException:
    """The exception below those that Beam made of it on its way out of the pipeline.

    The embedded runner raises a copy with the step's name behind its first argument, in whose
    context the exception itself stands.
    """
    while error.args and isinstance(error.args[0], str) and _STEP.search(error.args[0]):
        inner = error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return error


def explain(error: BaseException, where: str = "") -> str:
    """What a user is told of an error.

    Args:
        error: as :func:`original` returns it.
        where: the file and rows that were being predicted, where they were.
    """
    if isinstance(error, FatalExampleError):
        return (
            f"the model failed on {error} (--failures FOLDER puts failed rows aside, --features "
            "says which columns the model sees, --traceback where it failed)"
        )
    place = f"; in {where}" if where else ""
    if isinstance(error, RunInferenceError):
        return f"{error}{place}"
    if isinstance(error, OSError):
        return _explain_os_error(error)
    text = str(error)
    if _TRACEBACK in text:  # from a worker in another process, which sends text
        return _last_error(text)
    if isinstance(error, MemoryError):
        return f"out of memory{place}; try a smaller --batching.max_size"
    kind = type(error).__name__
    message = f"{kind}: {text}" if text else kind
    if where:
        return (
            f"the model failed on {where}: {message} (--features says which columns it sees, "
            "--traceback where it failed)"
        )
    return message


def _explain_os_error(error: OSError) -> str:
    name = f" in {str(error.filename)!r}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{name}: free some space, or name a folder on another disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission{name}: {error.strerror or error}"
    if error.filename and error.strerror:
        return f"{error.strerror}: {str(error.filename)!r}"
    return str(error)


_STEP = re.compile(r" \[while running '.*'\]\s*$")
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"^(?P<module>[\w.]+\.)?(?P<kind>\w+)(: (?P<message>.*))?$", re.DOTALL)


def _last_error(text: str) -> str:
    """The message at the end of a traceback that came as text."""
    lines = _STEP.sub("", text.rstrip()).splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
    last = "\n".join(lines[frames[-1] + 1 :] if frames else lines).strip()
    found = _RAISED.match(last)
    if found is None:
        return last
    if (found["module"] or "").startswith("runinference"):
        return found["message"] or found["kind"]
    return last
