"""Predictions that are not finite are found in whatever holds numbers."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runinference import ExampleFailed, PredictionResult, VectorModelHandler
from runinference.batch import RowBatch
from runinference.model import LocalModel
from runinference.nonfinite import nonfinite_positions
from runinference.outputs import read_outputs
from runinference.rendering import FiniteRows, is_finite_leaf
from runinference.versions import ModelVersion

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


def test_outputs_are_looked_at_before_they_are_rows():
    torch = pytest.importorskip("torch")
    for number, is_finite in ((2.0, True), (NAN, False)):
        outputs = {"array": np.array([1.0, number]), "tensor": torch.tensor([[0.0], [number]])}
        rows = read_outputs(outputs, 2, source="model").rows()
        assert isinstance(rows, FiniteRows) is is_finite
        assert nonfinite_positions(rows) == ([] if is_finite else [1])


@pytest.mark.parametrize(
    ("leaf", "is_finite"),
    [
        (np.array([1.0, 2.0]), True),
        (np.array([1.0, math.inf]), False),
        (np.array([1 + 1j, complex(0, NAN)]), False),
        (np.array([1, 2]), True),
        (np.array(["a"]), True),
        (np.array([1.0, None]), False),  # not known
        ([1.0, 2.0], False),  # not known
    ],
)
def test_whole_leaves(leaf, is_finite):
    assert is_finite_leaf(leaf) is is_finite


@pytest.mark.filterwarnings("ignore:torch")  # it means to give such tensors up
def test_whole_tensors():
    torch = pytest.importorskip("torch")
    assert is_finite_leaf(torch.tensor([1.0]))
    assert is_finite_leaf(torch.tensor([1, 2]))
    assert not is_finite_leaf(torch.tensor([NAN]).half())
    assert not is_finite_leaf(torch.tensor([complex(0, NAN)]))
    quantized = torch.quantize_per_tensor(torch.tensor([1.0]), 0.1, 0, torch.qint8)
    assert is_finite_leaf(quantized)  # which has no isfinite()


class Plain(VectorModelHandler):
    def load_model(self):
        return None

    def collate(self, examples, model):
        return np.array(examples, dtype=float)

    def predict(self, batch, model, inference_args):
        return batch * 2


class Splitting(Plain):
    def split(self, outputs, examples):
        rows = super().split(outputs, examples)
        rows[0] = NAN
        return rows


class Running(Plain):
    def run_prepared(self, examples, model, inference_args):
        rows = super().run_prepared(examples, model, inference_args)
        rows[0] = NAN
        return rows


class RunningAll(Plain):
    def run_inference(self, batch, model, inference_args=None):
        rows = super().run_inference(batch, model, inference_args)
        rows[0] = NAN
        return rows


@pytest.mark.parametrize(
    ("handler", "count"), [(Plain(), 0), (Splitting(), 1), (Running(), 1), (RunningAll(), 1)]
)
def test_what_a_method_of_the_authors_makes_of_rows_is_looked_at(handler, count):
    model = LocalModel(ModelVersion(handler, "f"))
    predictions = model.predict(RowBatch([1.0, 2.0]), None)
    assert nonfinite_positions(predictions) == [0] * count
