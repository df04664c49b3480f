"""Memory is taken again by the next call, and never while something uses it."""

import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference.columns import matrix
from runinference.rendering import column_of
from runinference.scratch import scratch


def address(array):
    return array.__array_interface__["data"][0]


def test_taken_again_once_nothing_uses_it():
    first = address(scratch((100, 4), np.float32))
    assert address(scratch((100, 4), np.float32)) == first
    assert address(scratch((25, 2), np.float64)) == first


@pytest.mark.parametrize(
    "use",
    [
        lambda array: array,
        lambda array: array[3:5],
        lambda array: array.T.reshape(-1, order="F")[1:],
        lambda array: column_of(array),
        lambda array: column_of(array[:, 0]),
        lambda array: memoryview(array),
        lambda array: pd.DataFrame(array, copy=False),
        lambda array: pd.DataFrame(array, copy=False)[2],
        lambda array: list(array),
    ],
)
def test_never_taken_from_who_uses_it(use):
    array = scratch((100, 4), np.float32)
    array[:] = 1
    used = use(array)
    before = np.array(used, copy=True) if not isinstance(used, pa.Array) else used.to_pylist()
    del array
    scratch((100, 4), np.float32)[:] = 2
    after = np.array(used) if not isinstance(used, pa.Array) else used.to_pylist()
    assert np.array_equal(before, after)


def test_a_tensor_uses_it():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(scratch((100, 4), np.float32))[2:]
    tensor.fill_(1)
    scratch((100, 4), np.float32)[:] = 2
    assert (tensor == 1).all()


def test_each_thread_has_its_own():
    found = []

    def take():
        found.append(scratch((1000,), np.float64))

    for thread in [threading.Thread(target=take) for _ in range(3)]:
        thread.start()
        thread.join()
    found.append(scratch((1000,), np.float64))
    assert len(set(map(address, found))) == 4


def test_what_is_large_or_holds_objects_is_not_kept():
    for shape, dtype in (((70 << 20,), np.uint8), ((10,), object)):
        array = scratch(shape, dtype)
        assert array.base is None
        assert (array.shape, array.dtype) == (shape, dtype)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 5), st.booleans()), max_size=10),
    st.sampled_from([np.float32, np.float64, np.int16]),
)
def test_matrices_are_what_they_were_however_many_are_kept(shapes, dtype):
    kept = []
    for rows, width, is_kept in shapes:
        columns = {f"c{n}": np.arange(rows, dtype=dtype) + 10 * n for n in range(width)}
        made = matrix(pa.table(columns))
        if is_kept:
            kept.append((made, columns))
    for made, columns in kept:
        assert np.array_equal(made, np.stack(list(columns.values()), axis=1))
