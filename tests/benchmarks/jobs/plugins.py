"""Handlers of ONNX Runtime and XGBoost on 1 M rows of 16 columns of float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from benchmarks.job import Predictor
from benchmarks.jobs.logistic import Logistic, matrix

__all__ = ["JOBS", "Onnx", "Xgboost"]


class Onnx(Logistic):
    """A network of 16, 64 and 1 neurons, small enough that what is around it shows."""

    handler: ClassVar[str] = "onnx-numpy"

    def write_model(self, folder: Path) -> None:
        """Of random weights."""
        from onnx import TensorProto, helper, numpy_helper

        rng = np.random.default_rng(1)
        weights = {
            "W1": rng.standard_normal((16, 64), dtype=np.float32),
            "W2": rng.standard_normal((64, 1), dtype=np.float32),
            "axis": np.array([1]),
        }
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "W1"], ["a"]),
                helper.make_node("Relu", ["a"], ["b"]),
                helper.make_node("MatMul", ["b", "W2"], ["c"]),
                helper.make_node("Squeeze", ["c", "axis"], ["y"]),
            ],
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 10
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    def predictor(self, folder: Path) -> Predictor:
        """A session's ``run`` with the matrix."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads or 0
        session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        return lambda table: pa.array(session.run(None, {"x": matrix(table)})[0])

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file."""
        return {"model_uri": str(folder / "model.onnx")}


class Xgboost(Logistic):
    """100 trees of depth 6."""

    handler: ClassVar[str] = "xgboost-numpy"

    def write_model(self, folder: Path) -> None:
        """In XGBoost's binary format."""
        import xgboost

        rng = np.random.default_rng(1)
        values = rng.standard_normal((20_000, 16), dtype=np.float32)
        data = xgboost.DMatrix(values, values.sum(axis=1) > 0)
        model = xgboost.train({"objective": "binary:logistic", "max_depth": 6}, data, 100)
        model.save_model(folder / "model.ubj")

    def predictor(self, folder: Path) -> Predictor:
        """``inplace_predict`` of the matrix, which is faster than ``predict`` of a DMatrix."""
        import xgboost

        model = xgboost.Booster(model_file=str(folder / "model.ubj"))
        if self.threads is not None:
            model.set_param({"nthread": self.threads})
        return lambda table: pa.array(model.inplace_predict(matrix(table)))

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file."""
        return {"model_uri": str(folder / "model.ubj")}


JOBS = (
    Onnx(
        name="onnx",
        title="ONNX Runtime, a network on 1 M x 16",
        rows=1_000_000,
        quick_rows=20_000,
        systems=("loop", "tables"),
        peers=(),
    ),
    Xgboost(
        name="xgboost",
        title="XGBoost, 100 trees on 1 M x 16",
        rows=1_000_000,
        quick_rows=20_000,
        systems=("loop", "tables"),
        peers=(),
    ),
)
