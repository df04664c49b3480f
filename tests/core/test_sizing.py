"""The search for the fastest size of a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference.sizing import BestSize


def settle(seconds_of, bytes_per_row=8.0):
    best = BestSize()
    for _ in range(100):
        size = best.next(bytes_per_row)
        best.record(size, seconds_of(size))
    assert best.is_settled
    return best.next(bytes_per_row)


@pytest.mark.parametrize(
    ("seconds_of", "expected"),
    [
        # slower per row once the rows leave the cache
        (lambda rows: 1e-4 + rows * (1e-7 if rows <= 16384 else 4e-7), 16384),
        (lambda rows: rows * (1e-6 if rows <= 4096 else 2e-6), 4096),
    ],
)
def test_it_settles_on_the_fastest(seconds_of, expected):
    assert settle(seconds_of) == expected


def test_it_grows_as_long_as_nothing_is_lost():
    best = BestSize(largest_bytes=1 << 40)
    for _ in range(20):
        size = best.next(8.0)
        best.record(size, 1e-3 + size * 1e-7)
    assert best.next(8.0) == 4096 << 10
    assert not best.is_settled


def test_one_slow_size_does_not_end_the_search():
    best = BestSize()
    slow = {8192}
    for _ in range(6):
        size = best.next(8.0)
        best.record(size, size * (1e-5 if size in slow else 1e-6))
    assert best.next(8.0) == 32768
    assert not best.is_settled


def test_a_slow_first_call_does_not_decide():
    best = BestSize()
    best.record(4096, 10.0)
    best.record(4096, 1e-3)
    assert best.next(8.0) == 8192
    assert not best.is_settled


def test_calls_of_other_sizes_say_nothing():
    best = BestSize()
    for _ in range(10):
        best.record(500, 1e-9)
    assert best.next(8.0) == 4096


def test_bytes_bound_the_size():
    assert BestSize(largest_bytes=1000).next(100.0) == 10
    assert BestSize(largest_bytes=1000).next(5000.0) == 1


@given(st.lists(st.floats(1e-9, 10), max_size=60))
def test_it_always_ends_and_never_asks_for_nothing(timings):
    best = BestSize()
    for seconds in timings:
        size = best.next(8.0)
        assert size >= 1
        best.record(size, seconds)
