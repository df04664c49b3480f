"""What goes between processes comes out as it went in."""

import pickle
import threading

import numpy as np
import pyarrow as pa
import pytest

from runinference.batch import RowBatch, TableBatch
from runinference.process.carried_errors import carry, restore
from runinference.process.packing import (
    fold,
    fold_batch,
    pack,
    unfold,
    unfold_batch,
    unpack,
)


def same(one, other):
    if isinstance(one, np.ndarray):
        return (
            type(other) is np.ndarray
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and one.tolist() == other.tolist()
        )
    if isinstance(one, dict | list | tuple):
        pairs = list(zip(one, other, strict=True))
        if isinstance(one, dict):
            pairs = [*pairs, *((one[key], other[key]) for key in one)]
        return type(one) is type(other) and all(same(a, b) for a, b in pairs)
    return type(one) is type(other) and one == other


EXAMPLES = [
    [],
    [1, 2.5, "text", None, b"bytes"],
    [np.arange(3.0), np.arange(3.0) + 1],
    [np.arange(3.0), np.arange(4.0)],
    [np.arange(3.0), np.arange(3)],
    [np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")],
    [np.zeros((0, 3)), np.zeros((0, 3))],
    [np.array(1.0), np.array(2.0)],
    [np.array(["a", "bc"]), np.array(["d", "e"])],
    [np.array([None, "x"], object), np.array([1, 2], object)],
    [np.zeros(100_000), np.ones(100_000)],
    [np.float32(1.5), np.float32(2.5)],
    [np.int64(1), np.float64(2)],
    [np.str_("a"), np.str_("bcd")],
    [True, np.True_],
    [{"a": 1, "b": np.arange(2)}, {"a": 2, "b": np.arange(2) + 1}],
    [{"a": 1, "b": 2}, {"b": 1, "a": 2}],
    [{"a": {"b": np.arange(2)}}, {"a": {"b": np.arange(2)}}],
    [{}, {}],
    [(np.arange(2), 1), (np.arange(2), 2)],
    [[1, 2], [3]],
]


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda values: f"{values!r:.40}")
@pytest.mark.parametrize("owned", [True, False])
def test_values_come_back(values, owned):
    back = unfold(unpack([bytearray(b) for b in pack(fold(values))]), owned=owned)
    assert same(values, list(back))


def test_owned_values_hold_no_batch():
    rows = [np.arange(3.0) for _ in range(1000)]
    folded = unpack([bytearray(b) for b in pack(fold(rows))])
    assert all(row.base is None and row.flags.writeable for row in unfold(folded, owned=True))
    assert unfold(folded, owned=False)[0].base.nbytes == 24_000


def test_large_arrays_are_not_copied_into_the_pickle():
    array = np.arange(1_000_000.0)
    head, body = pack({"array": array})
    assert len(head) < 1000
    assert np.shares_memory(np.frombuffer(body), array)


def test_a_slice_of_a_table_travels_without_the_rest():
    table = pa.table({"a": np.arange(1_000_000), "b": pa.array(["x", "y"] * 500_000)})
    piece = table.slice(10, 100).replace_schema_metadata({"k": "v"})
    buffers = pack(piece)
    assert sum(memoryview(buffer).nbytes for buffer in buffers) < 10_000
    back = unpack([bytearray(buffer) for buffer in buffers])
    assert back.equals(piece, check_metadata=True)


def test_what_a_model_does_not_read_stays():
    rows = RowBatch(["a" * 1000] * 3, [[1], [2], [3]], [1, 1, 1])
    assert len(pickle.dumps(fold_batch(rows))) < 400
    back = unfold_batch(fold_batch(rows))
    assert (len(back), back.prepared) == (3, [[1], [2], [3]])
    table = TableBatch(pa.table({"a": ["x" * 1000] * 3}), prepared=[[1], [2], [3]], output="o")
    back = unfold_batch(unpack([bytearray(b) for b in pack(fold_batch(table))]))
    assert (len(back), back.prepared, back.output) == (3, [[1], [2], [3]], "o")
    assert back.table.nbytes < 100


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_an_error_without_a_message():
    carried = carry(Unprintable())
    assert "no words" not in carried.text
    assert "RuntimeError" in carried.text
    error = ValueError("x")
    error.lock = threading.Lock()
    assert str(restore(carry(error))).startswith("ValueError: x")
    huge = ValueError("y" * 1_000_000)
    assert len(pickle.dumps(carry(huge))) < 100_000
