"""One small model per framework, saved as Beam's handlers and this project's load it."""

import gc
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import safetensors.torch
import skops.io
import torch
import xgboost
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

sys.path.append(str(Path(__file__).parent / "modules"))

NAMES = ["a", "b", "c", "d"]


def save_onnx(path, weights, bias):
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["inputs", "weights", "bias"], ["outputs"])],
        "linear",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Paths of saved models, and the inputs that they take: float32 ``[50, 4]``."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    inputs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    labels = inputs.sum(axis=1) > 0
    saved = types.SimpleNamespace(
        inputs=inputs,
        pickle=str(folder / "model.pkl"),
        frames_pickle=str(folder / "frames.pkl"),
        skops=str(folder / "model.skops"),
        state=str(folder / "model.pt"),
        safetensors=str(folder / "model.safetensors"),
        named_state=str(folder / "named.pt"),
        onnx=str(folder / "model.onnx"),
        xgboost=str(folder / "model.json"),
    )
    fitted = LogisticRegression().fit(inputs, labels)
    Path(saved.pickle).write_bytes(pickle.dumps(fitted))
    skops.io.dump(fitted, saved.skops)
    of_frames = LogisticRegression().fit(pd.DataFrame(inputs, columns=NAMES), labels)
    Path(saved.frames_pickle).write_bytes(pickle.dumps(of_frames))
    linear = torch.nn.Linear(4, 2)
    torch.save(linear.state_dict(), saved.state)
    safetensors.torch.save_file(linear.state_dict(), saved.safetensors)
    from beam_nets import Named

    torch.save(Named().state_dict(), saved.named_state)
    weights = linear.weight.detach().numpy().T.copy()
    save_onnx(saved.onnx, weights, linear.bias.detach().numpy().copy())
    xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(inputs, labels).save_model(saved.xgboost)
    return saved


@pytest.fixture(autouse=True, scope="module")
def collected():
    """Beam's handlers leave their files to the garbage collector: they are collected within the
    modules whose marks ignore the warning."""
    yield
    gc.collect()
