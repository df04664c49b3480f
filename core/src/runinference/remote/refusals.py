"""Read from an exception of whatever client why a request failed, without importing any client.

HTTP statuses are the one vocabulary: gRPC's codes are read as the statuses that they correspond to.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import enum
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

__all__ = ["Kind", "Refusal", "read_refusal"]

_GRPC_STATUSES = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

# What is wrong with the address, the credentials or the server, and not with the examples.
_WHATEVER_THE_EXAMPLES = frozenset({401, 403, 404, 405, 407, 410, 501, 505})
_RATE_LIMIT = 429
_OVERLOAD = frozenset({_RATE_LIMIT, 503})


class Kind(enum.Enum):
    """What to do about a request that failed."""

    LATER = "the same request may succeed later"
    NEVER = "the server refuses this request, and would refuse it again"
    NO_REQUEST = "the server refuses every request"
    OTHER = "not a matter of the server"


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a request failed.

    Attributes:
        kind: what to do about it.
        text: what the server or the client says.
        is_overload: the server says that it is asked too much.
        is_rate_limit: it says that it counts requests, so that it is up.
        retry_after_s: how long the server asks to wait.
    """

    kind: Kind
    text: str
    is_overload: bool = False
    is_rate_limit: bool = False
    retry_after_s: float | None = None


def read_refusal(
    error: BaseException, retry_statuses: Collection[int], now: Callable[[], float]
) -> Refusal:
    """Why a request failed, as far as its exception tells.

    An HTTP status is read from ``status_code``, ``response.status_code`` or ``code``, as the
    clients of this field have it, a gRPC code from ``code()``; where there is none, Python's own
    ``ConnectionError`` and ``TimeoutError`` are looked for, among the exception's causes too.

    Args:
        error: what the request raised.
        retry_statuses: statuses of requests that can succeed later.
        now: seconds since 1970, for a ``Retry-After`` that is a date.
    """
    status, text = _status(error)
    causes = list(_causes(error))
    if "CERTIFICATE_VERIFY_FAILED" in text or any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in causes
    ):
        return Refusal(Kind.NO_REQUEST, text)
    if status is None:
        is_transport = any(isinstance(e, ConnectionError | TimeoutError) for e in causes)
        return Refusal(Kind.LATER if is_transport else Kind.OTHER, text)
    retry_after_s = _retry_after(error, now)
    is_overload = status in _OVERLOAD or retry_after_s is not None
    if status in retry_statuses:
        is_rate_limit = status == _RATE_LIMIT
        return Refusal(Kind.LATER, text, is_overload, is_rate_limit, retry_after_s)
    kind = Kind.NO_REQUEST if status in _WHATEVER_THE_EXAMPLES else Kind.NEVER
    return Refusal(kind, text)


def _status(error: BaseException) -> tuple[int | None, str]:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    code = getattr(error, "code", None)
    if callable(code):  # a call of gRPC, or an error of Google's clients
        name = getattr(code(), "name", None)
        status = _GRPC_STATUSES.get(name) if isinstance(name, str) else None
        if status is not None:
            details = getattr(error, "details", None)
            said = str(details() if callable(details) else details or "")
            if status == 429 and "larger than max" in said:  # of one message, not of many
                status = 413
            return status, f"{name}: {said}" if said else str(name)
    response = getattr(error, "response", None)
    for owner, attribute in ((error, "status_code"), (response, "status_code"), (error, "code")):
        status = getattr(owner, attribute, None)
        if isinstance(status, int) and 400 <= status <= 599:
            said = str(error)
            return int(status), said if str(int(status)) in said else f"{int(status)}: {text}"
    return None, text


def _retry_after(error: BaseException, now: Callable[[], float]) -> float | None:
    """Seconds that the server asks to wait, told in seconds or as a date."""
    for owner in (error, getattr(error, "response", None)):
        headers: Any = getattr(owner, "headers", None)
        if not isinstance(headers, Mapping) and not hasattr(headers, "get"):
            continue
        value = headers.get("Retry-After") or headers.get("retry-after")
        if value is None:
            continue
        try:
            return max(float(value), 0.0)
        except ValueError:
            pass
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            continue
        if date.tzinfo is None:
            date = date.replace(tzinfo=datetime.UTC)
        return max(date.timestamp() - now(), 0.0)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
