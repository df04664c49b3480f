"""The search for the fastest size of a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference.sizing import BestSize

MANY = 1 << 60


def settle(seconds_of, bytes_per_row=8.0):
    best = BestSize()
    for _ in range(100):
        size = best.next(bytes_per_row, MANY, MANY)
        best.record(size, seconds_of(size))
    return best.next(bytes_per_row, MANY, MANY)


@pytest.mark.parametrize(
    ("seconds_of", "expected"),
    [
        # slower per row once the rows leave the cache
        (lambda rows: 1e-4 + rows * (1e-7 if rows <= 16384 else 4e-7), 16384),
        (lambda rows: 1e-4 + rows * (1e-7 if rows <= 65536 else 4e-7), 65536),
        (lambda rows: rows * (1e-6 if rows <= 16384 else 2e-6), 16384),
        (lambda rows: rows * 1e-6 * (rows / 4096), 4096),  # as small as is ever tried
    ],
)
def test_it_settles_on_the_fastest(seconds_of, expected):
    assert settle(seconds_of) == expected


def test_it_grows_as_long_as_nothing_is_lost():
    best = BestSize(largest_bytes=1 << 40)
    for _ in range(20):
        size = best.next(8.0, MANY, MANY)
        best.record(size, 1e-3 + size * 1e-7)
    assert best.next(8.0, MANY, MANY) == 32768 << 10
    assert not best.is_settled


@pytest.mark.parametrize(
    ("rows", "bytes_per_row", "expected"),
    [
        (50_000, 8.0, 50_000),
        (65_536, 8.0, 65_536),
        (65_537, 8.0, 32_768),
        (20_000, 8.0, 20_000),
        (50_000, 256.0, 50_000),
        (50_000, 512.0, 16_384),  # 16,384 rows are 8 MB
        (6_000, 1 << 20, 16),  # and of 16 MB there are never more
    ],
)
def test_a_table_that_is_little_larger_than_the_first_size_goes_whole(
    rows, bytes_per_row, expected
):
    assert BestSize().next(bytes_per_row, rows, rows) == expected


def test_one_slow_size_does_not_end_the_search():
    best = BestSize()
    slow = {65536}
    for _ in range(6):
        size = best.next(8.0, MANY, MANY)
        best.record(size, size * (1e-5 if size in slow else 1e-6))
    assert best.next(8.0, MANY, MANY) == 262144
    assert not best.is_settled


def test_a_slow_first_call_does_not_decide():
    best = BestSize()
    for seconds in (10.0, 1e-3):
        assert best.next(8.0, MANY, MANY) == 32768
        best.record(32768, seconds)
    assert best.next(8.0, MANY, MANY) == 65536
    assert not best.is_settled


def test_calls_of_other_sizes_say_nothing():
    best = BestSize()
    for _ in range(10):
        best.record(500, 1e-9)
    assert best.next(8.0, MANY, MANY) == 32768


def test_bytes_bound_the_size():
    assert BestSize(largest_bytes=1000).next(100.0, MANY, MANY) == 10
    assert BestSize(largest_bytes=1000).next(5000.0, MANY, MANY) == 1


@pytest.mark.parametrize(("left", "expected"), [(7, 7), (32768, 32768), (32800, 32768)])
def test_a_size_that_is_tried_is_kept_to(left, expected):
    assert BestSize().next(8.0, MANY, left) == expected


@pytest.mark.parametrize(("left", "expected"), [(79, 79), (80, 80), (90, 90), (91, 80), (200, 80)])
def test_few_rows_left_over_go_along_with_a_size_that_was_found(left, expected):
    best = BestSize(largest_bytes=640)
    for _ in range(2):
        assert best.next(8.0, MANY, 200) == 80
        best.record(80, 1e-3)
    assert best.next(8.0, MANY, left) == expected


@pytest.mark.parametrize("largest", ["bytes", "rows"])
@pytest.mark.parametrize(("slow_from", "expected"), [(50_000, 32_768), (200_000, 100_000)])
def test_the_largest_size_that_there_can_be_is_tried_too(largest, slow_from, expected):
    bounded = largest == "bytes"
    best = BestSize(largest_bytes=800_000 if bounded else 1 << 40)
    rows = MANY if bounded else 100_000
    asked = []
    for _ in range(20):
        size = best.next(8.0, rows, rows)
        asked.append(size)
        best.record(size, 1e-3 + size * (1e-6 if size < slow_from else 3e-6))
    assert max(asked) == 100_000
    assert asked[-8:] == [expected] * 8


def test_small_tables_say_nothing_of_the_sizes_to_come():
    best = BestSize()
    for _ in range(5):
        assert best.next(8.0, 100, 100) == 100
        best.record(100, 1e-4)
    assert best.next(8.0, MANY, MANY) == 32768


@pytest.mark.parametrize(
    ("width", "first"), [(64, 32768), (512, 16384), (2048, 4096), (3000, 4096)]
)
def test_wide_rows_begin_with_fewer(width, first):
    assert BestSize().next(width, MANY, MANY) == first


def test_memory_bounds_the_size_where_it_is_told():
    """A network that needs 5 kB for each row between its layers, and is the faster the larger."""
    best, peak, asked = BestSize(), 0, []
    for _ in range(20):
        size = best.next(256.0, MANY, MANY)
        needed = size * 5000
        best.record(size, 1e-3 + size * 1e-6, max(needed - peak, 0))
        peak = max(peak, needed)
        asked.append(size)
    assert max(asked) == asked[-1] == 65536  # which took 156 MB more, and the next would take 312


def test_more_rows_are_tried_where_they_take_no_memory():
    for grown_bytes, largest in ((None, 16), (0, 64)):
        best, asked = BestSize(), []
        for _ in range(20):
            size = best.next(256.0, MANY, MANY)
            best.record(size, 1e-3 + size * 1e-6, grown_bytes)
            asked.append(size)
        assert max(asked) * 256 == largest << 20


@given(st.lists(st.floats(1e-9, 10), max_size=60))
def test_it_always_ends_and_never_asks_for_nothing(timings):
    best = BestSize()
    for seconds in timings:
        size = best.next(8.0, MANY, MANY)
        assert size >= 1
        best.record(size, seconds)
