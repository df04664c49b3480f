"""One call of a remote model: as many requests as it takes, or an error that says why not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from typing import NoReturn, TypeVar

from runinference.errors import ModelUnavailableError, RequestRefusedError
from runinference.hooks import RemoteCalled
from runinference.remote.breaker import Breaker
from runinference.remote.pace import Pace
from runinference.remote.policy import RequestPolicy
from runinference.remote.refusals import Kind, Refusal, read_refusal
from runinference.reporting import report

__all__ = ["Calls"]

ResultT = TypeVar("ResultT")


class Calls:
    """Makes the calls of one client; shared by all threads.

    Args:
        name: of the handler, for messages and events.
        model_id: names the model, for events.
        policy: how often, how fast and for how long.
        retry_statuses: HTTP statuses of requests that can succeed later.
        clock: seconds, for durations.
        sleep: waits so many seconds.
        uniform: a random number between two.
    """

    def __init__(
        self,
        name: str,
        model_id: str | None,
        policy: RequestPolicy,
        retry_statuses: Collection[int],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._name = name
        self._model_id = model_id
        self._policy = policy
        self._retry_statuses = frozenset(retry_statuses)
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._pace = Pace(policy, uniform)
        self._breaker = Breaker(policy)

    def make(self, request: Callable[[], ResultT], examples: int) -> ResultT:
        """What the request returns, once it succeeds.

        Args:
            request: one request to the server; it may be made several times.
            examples: how many it holds; 0 for one that makes the client.

        Raises:
            ModelUnavailableError: the server cannot be asked, whatever the examples.
            RequestRefusedError: the server refuses these examples.
            Exception: whatever else the request raises.
        """
        call = _Call(self._clock, self._sleep, self._policy.give_up_after_s)
        try:
            return self._make(request, examples, call)
        finally:
            report(
                RemoteCalled(
                    self._name,
                    self._model_id,
                    tuple(call.latencies),
                    call.throttled_s,
                    call.is_rejected,
                )
            )

    def _make(self, request: Callable[[], ResultT], examples: int, call: _Call) -> ResultT:
        while True:
            self._wait_for_turn(examples, call)
            start = self._clock()
            try:
                result = request()
            except Exception as error:
                call.latencies.append(self._clock() - start)
                refusal = read_refusal(error, self._retry_statuses, time.time)
                self._take_note(refusal)
                if refusal.kind is Kind.OTHER:
                    raise
                if refusal.kind is not Kind.LATER:
                    self._fail(refusal, examples, error)
                self._wait_to_retry(refusal, call, error)
            else:
                call.latencies.append(self._clock() - start)
                self._take_note(None)
                return result

    def _take_note(self, refusal: Refusal | None) -> None:
        now = self._clock()
        if refusal is None or refusal.kind in (Kind.NEVER, Kind.NO_REQUEST):
            self._pace.answered(now, is_overload=False)
            self._breaker.answered()
        elif refusal.kind is Kind.LATER:
            if refusal.retry_after_s is not None:
                self._pace.pause(now + refusal.retry_after_s)
            if refusal.is_overload:
                self._pace.answered(now, is_overload=True)
            if not refusal.is_rate_limit:  # one that counts requests is up and well
                self._breaker.failed(now, refusal.text)

    def _wait_for_turn(self, examples: int, call: _Call) -> None:
        call.throttle(self._pace.reserve(examples, self._clock()))
        call.begin()
        while True:
            reason = self._breaker.refuse(self._clock())
            if reason is not None:
                call.is_rejected = True
                raise ModelUnavailableError(f"{self._name}: {reason}")
            now, left = self._clock(), call.time_left()
            pause = self._pace.paused(now)
            if pause > max(left, 0):
                raise ModelUnavailableError(
                    f"{self._name}: the server asks to wait {pause:.0f} s before the next request, "
                    f"longer than is left of {self._told()}"
                )
            delay = pause or min(self._pace.throttled(now), left)
            if delay <= 0:
                return
            call.throttle(delay)

    def _wait_to_retry(self, refusal: Refusal, call: _Call, error: Exception) -> None:
        left = call.time_left()
        if left <= 0 or (refusal.retry_after_s or 0.0) > left:
            asked = (
                ""
                if refusal.retry_after_s is None
                else (f", asking to wait {refusal.retry_after_s:.0f} s")
            )
            raise ModelUnavailableError(
                f"{self._name}: the server failed {len(call.latencies)} times in "
                f"{call.seconds():.0f} s, the last time with {refusal.text.rstrip('.')}{asked}; "
                f"tried for as long as {self._told()} allows"
            ) from error
        if refusal.retry_after_s is not None:
            return  # the pause holds this request too
        policy = self._policy
        wait = min(policy.max_wait_s, policy.first_wait_s * 2.0 ** (len(call.latencies) - 1))
        wait = min(self._uniform(wait / 2, wait), left)
        if refusal.is_overload:
            call.throttle(wait)
        else:
            self._sleep(wait)

    def _fail(self, refusal: Refusal, examples: int, error: Exception) -> NoReturn:
        if refusal.kind is Kind.NO_REQUEST:
            raise ModelUnavailableError(
                f"{self._name}: the server refuses requests, whatever their examples: "
                f"{refusal.text}; check its address, the model's name and the credentials"
            ) from error
        what = {0: "what create_client() asks", 1: "a request of 1 example"}.get(
            examples, f"a request of {examples} examples"
        )
        raise RequestRefusedError(
            f"{self._name}: the server refuses {what}: {refusal.text}"
        ) from error

    def _told(self) -> str:
        return f"RequestPolicy(give_up_after_s={self._policy.give_up_after_s:g})"


class _Call:
    """What one call has taken so far."""

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], None], allowed_s: float
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._allowed_s = allowed_s
        self._begun: float | None = None
        self.latencies: list[float] = []
        self.throttled_s = 0.0
        self.is_rejected = False

    def begin(self) -> None:
        """Count the time from now on, if it is not counted yet: waits for a rate come before."""
        if self._begun is None:
            self._begun = self._clock()

    def seconds(self) -> float:
        """Since it began."""
        return 0.0 if self._begun is None else self._clock() - self._begun

    def time_left(self) -> float:
        """Before it is given up."""
        return self._allowed_s - self.seconds()

    def throttle(self, seconds: float) -> None:
        """Wait, because requests are too many."""
        if seconds > 0:
            self._sleep(seconds)
            self.throttled_s += seconds
