"""Small model files of each format, and how each is loaded and asked."""

from __future__ import annotations

import dataclasses
import functools
import io
import pickle
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Subject:
    """A file to damage.

    Attributes:
        data: the whole file.
        handler: makes the handler of a path.
        examples: that its model predicts.
    """

    data: bytes
    handler: Callable[[str], Any]
    examples: list[Any]


def _sklearn(make: Callable[[], Any], kind: str, **options: Any) -> Subject:
    import joblib
    import numpy as np
    import skops.io
    from sklearn.datasets import load_iris

    from runinference_sklearn import SklearnModelHandlerNumpy

    inputs, labels = load_iris(return_X_y=True)
    model = make().fit(inputs[::5], labels[::5])
    if kind == "pickle":
        data = pickle.dumps(model)
    elif kind == "skops":
        data = skops.io.dumps(model)
        options = {"trusted_types": skops.io.get_untrusted_types(data=data)}
    else:
        file = io.BytesIO()
        joblib.dump(model, file, compress=(kind, 3) if kind != "joblib" else 0)
        data = file.getvalue()
    handler = functools.partial(SklearnModelHandlerNumpy, **options)
    return Subject(data, handler, list(np.asarray(inputs[:3])))


def _linear() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=50))


def _tree() -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=3, random_state=0)


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(2, max_depth=2, random_state=0)


def _boosted() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=4, random_state=0)


def _neighbours() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(2, algorithm="kd_tree")


def _svm() -> Any:
    from sklearn.svm import SVC

    return SVC()


def _torch(kind: str) -> Subject:
    import safetensors.torch
    import torch

    from runinference_pytorch import PytorchModelHandlerTensor

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = _net().eval()
    state = model.state_dict()
    file = io.BytesIO()
    if kind == "safetensors":
        file.write(safetensors.torch.save(state))
    elif kind == "script":
        torch.jit.save(torch.jit.script(model), file)
    elif kind == "export":
        rows = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(model, (torch.zeros(3, 2),), dynamic_shapes=rows)
        torch.export.save(program, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")

    def handler(path: str) -> Any:
        if kind in ("script", "export"):
            return PytorchModelHandlerTensor(torch_script_model_path=path, allow_model_code=True)
        return PytorchModelHandlerTensor(path, _net)

    return Subject(file.getvalue(), handler, list(torch.zeros(3, 2)))


def _net() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "pickle": functools.partial(_sklearn, _linear, "pickle"),
    "pickle-tree": functools.partial(_sklearn, _tree, "pickle"),
    "pickle-forest": functools.partial(_sklearn, _forest, "pickle"),
    "pickle-boosted": functools.partial(_sklearn, _boosted, "pickle"),
    "pickle-neighbours": functools.partial(_sklearn, _neighbours, "pickle"),
    "pickle-svm": functools.partial(_sklearn, _svm, "pickle"),
    "joblib": functools.partial(_sklearn, _linear, "joblib"),
    "joblib-tree": functools.partial(_sklearn, _tree, "joblib"),
    **{
        f"joblib-{kind}": functools.partial(_sklearn, _linear, kind)
        for kind in ("zlib", "gzip", "bz2", "xz", "lzma")
    },
    "skops": functools.partial(_sklearn, _linear, "skops"),
    "skops-tree": functools.partial(_sklearn, _tree, "skops"),
    "torch-zip": functools.partial(_torch, "zip"),
    "torch-legacy": functools.partial(_torch, "legacy"),
    "safetensors": functools.partial(_torch, "safetensors"),
    "torch-script": functools.partial(_torch, "script"),
    "torch-export": functools.partial(_torch, "export"),
}
