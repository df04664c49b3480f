"""Hold requests back: rate limits, pauses that the server asked for, and adaptive throttling."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from runinference.remote.policy import RequestPolicy

__all__ = ["Pace"]

_WINDOW_MS, _BUCKET_MS = 10_000, 500
_LONGEST_DELAY_S = 1.0


class Pace:
    """When the next request may be sent; shared by all threads that ask one server.

    Too many requests are throttled as Google's book on reliability has it ("Handling Overload"): a
    request waits with the probability ``(requests - ratio x accepted) / (requests + 1)``, counted
    over the last ten seconds. Other than Beam's ``AdaptiveThrottler``, a request counts once, when
    it is answered: those that are still under way, or wait, would else look like refused ones.

    Args:
        policy: the rates, and the ratio of requests to accepted ones.
        uniform: a random number between two.
    """

    def __init__(
        self,
        policy: RequestPolicy,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        # handlers are listed and described without Beam
        from apache_beam.io.components.util import MovingSum

        self._policy = policy
        self._uniform = uniform
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._paused_until = 0.0
        self._asked = MovingSum(_WINDOW_MS, _BUCKET_MS)
        self._accepted = MovingSum(_WINDOW_MS, _BUCKET_MS)

    def reserve(self, examples: int, now: float) -> float:
        """The seconds that the rates make a request of so many examples wait; it is counted."""
        policy = self._policy
        cost = max(
            1 / policy.requests_per_s if policy.requests_per_s else 0.0,
            examples / policy.examples_per_s if policy.examples_per_s else 0.0,
        )
        with self._lock:
            start = max(self._free_at, now)
            self._free_at = start + cost
            return start - now

    def paused(self, now: float) -> float:
        """The seconds that are left of the pause that the server asked for."""
        with self._lock:
            return max(self._paused_until - now, 0.0)

    def throttled(self, now: float) -> float:
        """The seconds to wait before asking this again, since too much is refused; 0 to send."""
        with self._lock:
            now_ms = int(now * 1000)
            asked, accepted = self._asked.sum(now_ms), self._accepted.sum(now_ms)
            refusing = (asked - self._policy.overload_ratio * accepted) / (asked + 1)
            if self._uniform(0, 1) >= refusing:
                return 0.0
            # not counted as asked: one that waits by itself would hold itself back ever longer
            return self._uniform(_LONGEST_DELAY_S / 2, _LONGEST_DELAY_S)

    def answered(self, now: float, *, is_overload: bool) -> None:
        """Count a request that the server has answered."""
        with self._lock:
            now_ms = int(now * 1000)
            self._asked.add(now_ms, 1)
            if not is_overload:
                self._accepted.add(now_ms, 1)

    def pause(self, until: float) -> None:
        """Send nothing before that time: the server said so to one, and means all."""
        with self._lock:
            self._paused_until = max(self._paused_until, until)
