"""Blocks are read ahead and written behind in threads that lose neither blocks nor errors."""

import itertools
import threading
import time

import pytest

from runinference_cli.background import InOrder, ahead


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith(("read-ahead", "write-behind"))]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_items_come_in_their_order(count):
    assert list(ahead(iter(range(5)), count)) == list(range(5))
    assert list(ahead(iter([None, [], 0]), count)) == [None, [], 0]
    assert list(ahead(iter(()), count)) == []
    assert threads() == []


def test_no_more_items_are_made_ahead_than_told():
    made = []
    items = ahead((made.append(number) or number for number in itertools.count()), 2)
    assert next(items) == 0
    wait_until(lambda: len(made) == 3)
    time.sleep(0.02)
    assert made == [0, 1, 2]
    items.close()
    assert threads() == []


def test_an_error_comes_in_the_place_of_the_item():
    items = ahead(1 / number for number in (1, 2, 0, 4))
    assert [next(items), next(items)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert threads() == []


def test_calls_are_made_in_order_and_few_of_them_wait():
    gate, done = threading.Event(), []
    behind = InOrder(waiting=1)
    behind.submit(gate.wait)
    behind.submit(lambda: done.append(1))
    third = threading.Thread(target=behind.submit, args=(lambda: done.append(2),))
    third.start()
    time.sleep(0.02)
    assert third.is_alive()
    assert done == []
    gate.set()
    third.join()
    behind.flush()
    assert done == [1, 2]
    behind.stop()
    assert threads() == []


def test_after_a_call_that_failed_no_more_are_made():
    done = []
    behind = InOrder()
    behind.submit(lambda: 1 / 0)
    behind.submit(lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        behind.flush()
    behind.submit(lambda: done.append(2))
    behind.flush()
    assert done == []
    behind.stop()


def test_a_later_call_raises_what_an_earlier_one_did():
    behind = InOrder(waiting=0)
    behind.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        behind.submit(lambda: None)
    behind.stop()


def test_stopping_drops_what_waits():
    gate, done = threading.Event(), []
    behind = InOrder()
    behind.submit(gate.wait)
    behind.submit(lambda: done.append(1))
    threading.Timer(0.02, gate.set).start()
    behind.stop()
    assert done == []
    assert threads() == []
