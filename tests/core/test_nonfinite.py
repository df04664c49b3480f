"""Predictions that are not finite are found in whatever holds numbers."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runinference import ExampleFailed, PredictionResult
from runinference.nonfinite import nonfinite_positions

NAN = math.nan


@pytest.mark.parametrize(
    ("predictions", "positions"),
    [
        ([], []),
        ([1.0, NAN, math.inf], [1, 2]),
        ([1, 2], []),
        (["nan", b"nan", None], []),
        (list(np.array([1.0, NAN], dtype="float16")), [1]),
        ([np.array([1.0, 2.0]), np.array([NAN, 2.0])], [1]),
        ([np.array([1, 2]), np.array([3, 4])], []),
        ([np.zeros((2, 0)), np.zeros((2, 0))], []),
        ([np.array([1.0]), np.array([NAN, 2.0]), np.array(3)], [1]),
        ([np.array([1 + 1j]), np.array([complex(NAN, 0)])], [1]),
        ([1.0, np.float32("inf"), np.array([NAN]), "x"], [1, 2]),
        ([{"a": 1.0}, {"a": NAN}], [1]),
        ([{"a": 1.0}, {"b": NAN}], [1]),
        ([{"a": 1.0, "b": np.array([NAN])}], [0]),
        ([(1.0, {"b": [2.0, NAN]}), (1.0, {"b": [2.0, 3.0]})], [0]),
        ([[1.0], [1.0, NAN]], [1]),
        ([PredictionResult("x", 1.0), PredictionResult("x", NAN)], [1]),
        ([ExampleFailed(ValueError("odd")), NAN], [1]),
    ],
)
def test_rows(predictions, positions):
    assert nonfinite_positions(predictions) == positions


def test_tensors():
    torch = pytest.importorskip("torch")
    rows = list(torch.tensor([[1.0, 2.0], [NAN, 2.0]]).unbind(0))
    assert nonfinite_positions(rows) == [1]
    assert nonfinite_positions([row.bfloat16() for row in rows]) == [1]
    assert nonfinite_positions([torch.tensor([1]), torch.tensor([2])]) == []
    assert nonfinite_positions([torch.tensor(1.0), torch.tensor([NAN])]) == [1]


@pytest.mark.parametrize(
    ("column", "positions"),
    [
        (pa.array([1.0, NAN, None]), [1]),
        (pa.array([1, 2]), []),
        (pa.array(["nan"]), []),
        (pa.array([[1.0], [], [NAN], None, [2.0, math.inf]]), [2, 4]),
        (pa.array([[1.0, 2.0], None, [3.0, NAN]], pa.list_(pa.float32(), 2)), [2]),
        (pa.array([{"a": 1.0}, {"a": NAN}]), [1]),
        (pa.chunked_array([[1.0, NAN], [], [2.0, NAN]]), [1, 3]),
        (pa.chunked_array([[[1.0], [NAN]], [[NAN]]]), [1, 2]),
        (pa.array([[[1.0, 2.0]], [[NAN, 1.0]]], pa.list_(pa.list_(pa.float64(), 2), 1)), [1]),
        (pa.array([[1.0], [2.0], [NAN], [3.0]]).slice(1, 2), [1]),
    ],
)
def test_columns(column, positions):
    assert nonfinite_positions(pa.table({"id": range(len(column)), "p": column})) == positions


@given(
    npst.arrays(
        npst.floating_dtypes(endianness="="),
        npst.array_shapes(min_dims=1, max_dims=3),
        elements=st.sampled_from([0.0, 1.5, NAN, math.inf]),
    )
)
def test_rows_of_an_array(array):
    flat = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    assert nonfinite_positions(list(array)) == np.flatnonzero(~flat).tolist()
