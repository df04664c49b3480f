"""How often, how fast and for how long a server is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from runinference.errors import ConfigurationError

__all__ = ["RETRY_STATUSES", "RequestPolicy"]

RETRY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses of requests that can succeed later."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequestPolicy:
    """How often, how fast and for how long a server is asked, by all threads of a process together.

    Args:
        give_up_after_s: seconds from a call's first request to its last retry, waits included. A
            server that has failed for as long without a break is not asked any more, but for a
            probe now and then.
        first_wait_s: seconds before the first retry, of which a random half may be missing; each
            further one waits twice as long.
        max_wait_s: the longest wait before a retry, unless the server asks for a longer one.
        retry_statuses: HTTP statuses to retry, instead of the handler's own.
        requests_per_s: the most requests in a second.
        examples_per_s: the most examples in a second.
        overload_ratio: how many requests are sent for one that the server does not refuse as too
            many; where more are refused, some wait before they are sent.
        probe_every_s: seconds between the probes of a server that is not asked any more.

    Raises:
        ConfigurationError: a field out of range.
    """

    give_up_after_s: float = 120.0
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0
    retry_statuses: Sequence[int] | None = None
    requests_per_s: float | None = None
    examples_per_s: float | None = None
    overload_ratio: float = 2.0
    probe_every_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("give_up_after_s", "first_wait_s", "max_wait_s", "probe_every_s"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"RequestPolicy({name}={getattr(self, name)!r}): seconds above 0 are needed"
                )
        for name in ("requests_per_s", "examples_per_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(
                    f"RequestPolicy({name}={value!r}): a rate above 0 is needed"
                )
        if not self.overload_ratio >= 1:
            raise ConfigurationError(
                f"RequestPolicy(overload_ratio={self.overload_ratio!r}): at least 1 is needed, one "
                "request for one that succeeds"
            )
        if self.retry_statuses is not None:
            object.__setattr__(self, "retry_statuses", tuple(self.retry_statuses))
            for status in self.retry_statuses:
                if not 400 <= status <= 599:
                    raise ConfigurationError(
                        f"RequestPolicy(retry_statuses=...): {status!r} is no HTTP status of a "
                        "failure, which are 400 to 599"
                    )
