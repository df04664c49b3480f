"""The rules of the contract that all handlers keep."""

import tempfile
from pathlib import Path

import graphs
import numpy as np
import pyarrow as pa

from runinference.testing import parametrize_with_checks
from runinference_onnx import OnnxModelHandlerNumpy

FOLDER = tempfile.TemporaryDirectory()
ROWS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def saved(name, model):
    path = Path(FOLDER.name) / name
    path.write_bytes(model.SerializeToString())
    return str(path)


def linear(batch="n", scale=1.0):
    made = graphs.linear(batch)
    scaled = graphs.numpy_helper.from_array((graphs.WEIGHTS * scale).astype(np.float32), "W")
    made.graph.initializer[0].CopyFrom(scaled)
    return made


HANDLERS = [
    OnnxModelHandlerNumpy(saved("linear.onnx", linear())),
    OnnxModelHandlerNumpy(saved("linear.onnx", linear()), outputs=["y"]),
    OnnxModelHandlerNumpy(saved("fixed.onnx", linear(batch=2))),
]
COLUMNS = pa.table({f"f{i}": ROWS[:, i] for i in range(4)})


@parametrize_with_checks(
    HANDLERS,
    examples=list(ROWS),
    table=COLUMNS,
    other_model=saved("other.onnx", linear(scale=2.0)),
)
def test_one_input(handler, check):
    check(handler)


@parametrize_with_checks(
    [OnnxModelHandlerNumpy(saved("two.onnx", graphs.two_inputs()))],
    examples=[{"a": row[:2], "b": i} for i, row in enumerate(ROWS)],
    table=pa.table({"a": pa.array(ROWS[:, :2].tolist(), pa.list_(pa.float32(), 2)), "b": range(5)}),
    features=["a", "b"],
    inference_args={"factor": 2.0},
)
def test_two_inputs(handler, check):
    check(handler)
