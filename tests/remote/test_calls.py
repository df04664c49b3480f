"""One call: retries, waits, when it gives up, and what it reports. The clock is the test's own."""

import random
import urllib.error

import pytest
from manual_clock import Clock

from runinference import RequestPolicy
from runinference.errors import ModelUnavailableError, RequestRefusedError
from runinference.remote.calls import Calls
from runinference.remote.policy import RETRY_STATUSES
from runinference.reporting import collected


def status(code, **headers):
    return urllib.error.HTTPError("http://server", code, "no", headers, None)


class Scripted:
    """Raises or returns what comes next; the last for ever. A request takes a second."""

    def __init__(self, clock, *answers):
        self.clock = clock
        self.answers = list(answers)
        self.made = 0

    def __call__(self):
        self.made += 1
        self.clock.now += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def calls(clock):
    def make(**options):
        return Calls(
            "acme",
            "acme@1",
            RequestPolicy(**options),
            RETRY_STATUSES,
            clock=clock,
            sleep=clock.sleep,
            uniform=random.Random(7).uniform,
        )

    return make


def test_waits_grow_and_vary_until_it_succeeds(calls, clock):
    request = Scripted(clock, *[ConnectionError("refused")] * 6, "fine")
    with collected() as reports:
        assert calls(max_wait_s=4).make(request, 3) == "fine"
    assert request.made == 7
    for wait, longest in zip(clock.sleeps, [0.5, 1, 2, 4, 4, 4], strict=True):
        assert longest / 2 <= wait <= longest
    [report] = reports
    assert report.latencies == (1.0,) * 7
    assert (report.throttled_s, report.is_rejected, report.model_id) == (0, False, "acme@1")


@pytest.mark.parametrize("code", RETRY_STATUSES)
def test_statuses_that_can_succeed_later(calls, clock, code):
    request = Scripted(clock, status(code), "fine")
    assert calls().make(request, 1) == "fine"


@pytest.mark.parametrize("code", [400, 409, 413, 415, 422])
def test_what_the_server_refuses_for_good_fails_at_once(calls, clock, code):
    request = Scripted(clock, status(code))
    with pytest.raises(
        RequestRefusedError, match=f"acme: the server refuses a request of 3.*{code}"
    ):
        calls().make(request, 3)
    assert (request.made, clock.sleeps) == (1, [])


@pytest.mark.parametrize("code", [401, 403, 404, 405])
def test_what_has_nothing_to_do_with_examples_is_unavailable_at_once(calls, clock, code):
    request = Scripted(clock, status(code))
    with pytest.raises(ModelUnavailableError, match=f"{code}.*check its address, the model's name"):
        calls().make(request, 3)
    assert request.made == 1


def test_an_error_of_the_authors_own_is_raised_as_it_is(calls, clock):
    request = Scripted(clock, KeyError("predictions"))
    with pytest.raises(KeyError, match="predictions"):
        calls().make(request, 3)
    assert request.made == 1


def test_it_gives_up_after_the_time_allowed(calls, clock):
    begun = clock.now
    request = Scripted(clock, ConnectionResetError("reset by peer"))
    with pytest.raises(ModelUnavailableError) as raised:
        calls(give_up_after_s=60).make(request, 3)
    assert 60 <= clock.now - begun <= 62
    assert f"failed {request.made} times in 6" in str(raised.value)
    assert "ConnectionResetError: reset by peer" in str(raised.value)
    assert "RequestPolicy(give_up_after_s=60)" in str(raised.value)
    assert isinstance(raised.value.__cause__, ConnectionResetError)


def test_the_servers_wish_is_waited_for_and_counts_as_throttled(calls, clock):
    request = Scripted(clock, status(429, **{"Retry-After": "17"}), "fine")
    with collected() as reports:
        assert calls().make(request, 1) == "fine"
    assert clock.sleeps == [17]
    assert reports[0].throttled_s == 17


def test_the_servers_wish_holds_other_calls_too(calls, clock):
    made = calls(give_up_after_s=60)
    with pytest.raises(ModelUnavailableError):
        made.make(Scripted(clock, status(429, **{"Retry-After": "70"})), 1)
    clock.now += 30
    assert made.make(Scripted(clock, "fine"), 1) == "fine"
    assert clock.sleeps == [pytest.approx(40)]


def test_a_wish_longer_than_the_time_left_is_not_waited_for(calls, clock):
    request = Scripted(clock, status(429, **{"Retry-After": "3600"}))
    made = calls()
    with pytest.raises(ModelUnavailableError, match="asking to wait 3600 s"):
        made.make(request, 1)
    assert clock.sleeps == []
    with pytest.raises(ModelUnavailableError, match="asks to wait 3600 s before the next"):
        made.make(Scripted(clock, "fine"), 1)


def test_refusals_as_too_many_wait_as_throttled(calls, clock):
    request = Scripted(clock, status(429), status(429), "fine")
    with collected() as reports:
        calls().make(request, 1)
    assert reports[0].throttled_s == pytest.approx(sum(clock.sleeps))
    assert len(clock.sleeps) >= 2


def test_a_rate_holds_within_and_between_calls(calls, clock):
    made = calls(requests_per_s=0.1)
    made.make(Scripted(clock, ConnectionError(), "fine"), 1)
    begun = clock.now
    with collected() as reports:
        made.make(Scripted(clock, "fine"), 1)
    assert clock.now - begun == pytest.approx(10)
    assert reports[0].throttled_s == pytest.approx(9)


def test_waiting_for_a_rate_is_no_reason_to_give_up(calls, clock):
    made = calls(requests_per_s=0.001, give_up_after_s=10)
    assert made.make(Scripted(clock, "one"), 1) == "one"
    assert made.make(Scripted(clock, "two"), 1) == "two"


def test_a_server_that_has_failed_for_a_while_is_not_asked_but_for_probes(calls, clock):
    made = calls(give_up_after_s=60, probe_every_s=10)
    down = Scripted(clock, ConnectionRefusedError("nobody there"))
    with pytest.raises(ModelUnavailableError, match=r"failed \d+ times"):
        made.make(down, 1)
    asked = down.made
    with pytest.raises(ModelUnavailableError, match=r"has failed for .*nobody there"):
        made.make(down, 1)  # the first one is the probe
    assert down.made == asked + 1
    with collected() as reports:
        for _ in range(100):
            with pytest.raises(ModelUnavailableError, match=r"is not asked again for \d+ s"):
                made.make(down, 1)
    assert down.made == asked + 1
    assert [r.latencies for r in reports] == [()] * 100
    assert all(report.is_rejected for report in reports)
    clock.now += 10
    assert made.make(Scripted(clock, "back"), 1) == "back"
    assert made.make(Scripted(clock, "back"), 1) == "back"


def test_a_server_that_limits_rates_is_not_taken_for_one_that_fails(calls, clock):
    made = calls(give_up_after_s=60)
    with pytest.raises(ModelUnavailableError):
        made.make(Scripted(clock, status(429)), 1)
    clock.now += 20
    assert made.make(Scripted(clock, "fine"), 1) == "fine"


def test_failures_with_long_silence_between_them_do_not_open_the_breaker(calls, clock):
    made = calls(give_up_after_s=60)
    for _ in range(5):
        request = Scripted(clock, ConnectionError(), "fine")
        assert made.make(request, 1) == "fine"
        clock.now += 300


def test_what_makes_the_client_is_named_in_its_refusal(calls, clock):
    with pytest.raises(RequestRefusedError, match=r"refuses what create_client\(\) asks: .*400"):
        calls().make(Scripted(clock, status(400)), 0)
