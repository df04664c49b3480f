"""Stop asking a server that has failed for a while, but for a probe now and then."""

from __future__ import annotations

import threading

from runinference.remote.policy import RequestPolicy

__all__ = ["Breaker"]


class Breaker:
    """Opens when a server has failed for ``give_up_after_s``; closes when it answers a probe.

    Shared by all threads that ask one server.
    """

    def __init__(self, policy: RequestPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._last_failure = 0.0
        self._next_probe = 0.0
        self._said = ""

    def refuse(self, now: float) -> str | None:
        """Why a request is not to be sent now; None for one that is, which may be the probe."""
        with self._lock:
            if self._failing_since is None or not self._is_open():
                return None
            if now >= self._next_probe:
                self._next_probe = now + self._policy.probe_every_s
                return None
            return (
                f"the server has failed for {now - self._failing_since:.0f} s and is not asked "
                f"again for {self._next_probe - now:.0f} s; it last failed with {self._said}"
            )

    def failed(self, now: float, said: str) -> None:
        """The server did not answer, or answered that it cannot."""
        with self._lock:
            # Where nobody asked for long, nobody knows: it may have worked in between.
            is_new = now - self._last_failure > self._policy.give_up_after_s
            if self._failing_since is None or (is_new and not self._is_open()):
                self._failing_since = now
            self._last_failure = now
            self._said = said

    def answered(self) -> None:
        """The server answered, if only to refuse a request."""
        with self._lock:
            self._failing_since = None
            self._next_probe = 0.0

    def _is_open(self) -> bool:
        since = self._failing_since
        return since is not None and self._last_failure - since >= self._policy.give_up_after_s
