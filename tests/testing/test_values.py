"""What is the same, and whose memory a value is."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

from runinference.testing.values import borrowed, difference


@dataclasses.dataclass
class Box:
    score: float
    label: str


class Unknown:
    def __init__(self, value):
        self.value = value


SAME = [
    (1.0, np.float64(1.0)),
    ("a", "a"),
    (float("nan"), float("nan")),
    (None, None),
    (np.array([1, 2]), np.array([1.0, 2.0])),
    (np.array(["a", None], dtype=object), np.array(["a", None], dtype=object)),
    ({"a": [1, (2, 3)]}, {"a": [1, (2, 3)]}),
    (Box(1.0, "x"), Box(1.0, "x")),
    (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame({"a": [1, 2], "b": ["x", None]})),
    (scipy.sparse.csr_matrix([[0, 1]]), scipy.sparse.csr_matrix([[0, 1]])),
    (pa.scalar(3), pa.scalar(3)),
    (pa.array([1, None]), pa.array([1, None])),
    ([], []),
    (Unknown(1), Unknown(1)),
]
APART = [
    (1.0, 1.1, "1.0 instead of 1.1"),
    ("a", "b", "'a' instead of 'b'"),
    (1.0, None, "1.0 instead of None"),
    (True, "True", "True instead of 'True'"),
    (np.zeros((2, 1)), np.zeros((1, 2)), "instead of"),
    ({"a": [1, 2]}, {"a": [1, 3]}, "['a'][1]: 2 instead of 3"),
    ({"a": 1}, {"b": 1}, "other parts"),
    ([1, 2], [1], "other parts: [1, 2] instead of [1]"),
    ([], [1], "other parts"),
    (Box(1.0, "x"), Box(1.0, "y"), ".label: 'x' instead of 'y'"),
    (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]}), "['a']"),
    (np.array(["a", 1], dtype=object), np.array(["a", 2], dtype=object), "instead of"),
    (Unknown(1), Unknown(2), "instead of"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one, other):
    assert difference(one, other) == difference(other, one) == ""


@pytest.mark.parametrize(("one", "other", "message"), APART)
def test_apart(one, other, message):
    assert message in difference(one, other)
    assert difference(other, one)


def test_tolerances():
    assert difference(1.0, 1.00001)
    assert difference(1.0, 1.00001, rtol=1e-4) == ""
    assert difference(0.0, 1e-6, rtol=1e-4)
    assert difference(0.0, 1e-6, atol=1e-5) == ""


def test_views_keep_the_memory_of_others():
    rows = np.zeros((10, 4))
    assert borrowed(rows[0]) == "ndarray is a view: 32 bytes of 320"
    assert borrowed({"a": [rows[0]]}).startswith("['a'][0] is a view")
    assert borrowed(rows[0].copy()) == borrowed(rows.reshape(4, 10)) == ""
    assert borrowed(rows[0, 0]) == borrowed(1.0) == borrowed("text") == ""
    assert borrowed(pd.DataFrame(rows).iloc[:1])
    assert borrowed(pa.array(range(10_000)).slice(0, 3))
    assert borrowed(pa.array([1, 2, 3])) == ""


def test_tensors():
    torch = pytest.importorskip("torch")
    rows = torch.zeros(10, 4)
    assert borrowed(rows[0]) == "Tensor is a view: 16 bytes of 160"
    assert borrowed(rows[0].clone()) == ""
    assert difference(rows, rows + 1e-9, atol=1e-6) == ""
    assert difference(rows.bfloat16(), rows.bfloat16() + 1)
