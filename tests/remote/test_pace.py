"""How requests are held back: rates, pauses, adaptive throttling."""

import random

import pytest

from runinference import RequestPolicy
from runinference.errors import ConfigurationError
from runinference.remote.pace import Pace


def test_without_rates_nothing_waits():
    pace = Pace(RequestPolicy())
    assert [pace.reserve(10**6, 5.0) for _ in range(3)] == [0, 0, 0]


def test_a_rate_of_requests_spaces_them():
    pace = Pace(RequestPolicy(requests_per_s=4))
    assert [pace.reserve(100, 10.0) for _ in range(3)] == [0, 0.25, 0.5]
    assert pace.reserve(100, 20.0) == 0  # time that nobody used is not saved up
    assert pace.reserve(100, 20.1) == pytest.approx(0.15)


def test_a_rate_of_examples_counts_examples():
    pace = Pace(RequestPolicy(examples_per_s=10))
    assert [pace.reserve(5, 0.0), pace.reserve(20, 0.0), pace.reserve(1, 0.0)] == [0, 0.5, 2.5]


def test_the_stricter_of_two_rates_holds():
    pace = Pace(RequestPolicy(examples_per_s=10, requests_per_s=1))
    assert [pace.reserve(1, 0.0), pace.reserve(30, 0.0), pace.reserve(1, 0.0)] == [0, 1, 4]


def test_a_pause_holds_everybody():
    pace = Pace(RequestPolicy())
    pace.pause(107.0)
    pace.pause(103.0)  # a shorter wish takes nothing back
    assert pace.paused(100.0) == 7.0
    assert pace.paused(107.0) == 0


def test_a_server_that_accepts_is_never_throttled():
    pace = Pace(RequestPolicy(), uniform=random.Random(1).uniform)
    for second in range(100):
        assert pace.throttled(second / 10) == 0
        pace.answered(second / 10, is_overload=second % 2 == 1)  # half of them: the ratio of 2


def test_many_requests_under_way_at_the_start_are_not_throttled():
    pace = Pace(RequestPolicy())
    assert [pace.throttled(0.0) for _ in range(64)] == [0] * 64


def test_where_most_are_refused_most_wait_until_it_is_forgotten():
    pace = Pace(RequestPolicy(), uniform=random.Random(1).uniform)
    for number in range(100):
        pace.answered(50.0, is_overload=number % 10 > 0)  # one in ten accepted
    held = [pace.throttled(50.1) for _ in range(200)]
    waiting = [delay for delay in held if delay]
    assert 130 < len(waiting) < 190  # of 200, (100 - 2 x 10) / 101 are to wait
    assert all(0.5 <= delay <= 1 for delay in waiting)
    assert [pace.throttled(70.0) for _ in range(20)] == [0] * 20


def test_to_wait_is_not_to_ask():
    """A lone request after two that were refused: it waits in two of three cases, however often."""
    pace = Pace(RequestPolicy(), uniform=random.Random(1).uniform)
    pace.answered(0.0, is_overload=True)
    pace.answered(0.0, is_overload=True)
    held = [pace.throttled(1.0) for _ in range(3000)]
    assert 0.6 < sum(delay > 0 for delay in held) / 3000 < 0.73


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"give_up_after_s": 0}, "seconds above 0"),
        ({"first_wait_s": -1}, "seconds above 0"),
        ({"examples_per_s": 0}, "a rate above 0"),
        ({"requests_per_s": float("nan")}, "a rate above 0"),
        ({"overload_ratio": 0.5}, "at least 1"),
        ({"retry_statuses": [200]}, "200 is no HTTP status of a failure"),
    ],
)
def test_options_out_of_range(option, words):
    with pytest.raises(ConfigurationError, match=words):
        RequestPolicy(**option)
