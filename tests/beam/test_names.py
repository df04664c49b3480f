"""Beam's handlers are found by name, take the options that they have, and read tables."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import apache_beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xgboost
from apache_beam.ml.inference import base
from beam_nets import Named

from runinference import RunInference, RunTableInference, create_handler, handler_class
from runinference.errors import BrokenHandlerError
from runinference.registry import _OWN_HANDLERS
from runinference_beam.by_name import ByName

# Beam's handlers leave their files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PLUGIN = Path(__file__).parents[2] / "plugins/beam"
BEAM = Path(apache_beam.__file__).parent / "ml/inference"
NAMES = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"][
    "runinference.handlers"
]
LINEAR = {"model_class": torch.nn.Linear, "model_params": {"in_features": 4, "out_features": 2}}


def handlers_in(module):
    """The classes of a module of Beam's that are handlers and can predict."""
    kinds = {"ModelHandler", "RemoteModelHandler"}
    for node in ast.parse(module.read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = {ast.unparse(one).partition("[")[0] for one in node.bases}
        if bases & kinds:
            kinds.add(node.name)
            methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
            if methods & {"run_inference", "request"}:
                yield node.name


def test_every_handler_of_the_installed_beam_has_a_name():
    expected = {
        (module.stem, name)
        for module in BEAM.glob("*.py")
        if module.stem != "base" and not module.stem.endswith("_test")
        for name in handlers_in(module)
    }
    found = set()
    for target in NAMES.values():
        module, _, name = target.partition(":")
        source = PLUGIN / "src" / f"{module.replace('.', '/')}.py"
        tree = ast.parse(source.read_text())
        [theirs] = [
            alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "apache_beam.ml.inference"
            for alias in node.names
        ]
        [own] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
        assert [ast.unparse(one) for one in own.bases] == ["ByName", f"beams.{name}"]
        found.add((theirs, name))
    assert len(found) == len(NAMES)
    assert found == expected


def test_the_core_knows_the_names():
    known = {name for name, owner in _OWN_HANDLERS.items() if owner == "runinference-beam"}
    assert known == set(NAMES)
    assert all(name.startswith("beam-") for name in NAMES)


def test_listing_imports_nothing_of_beams():
    code = (
        "import sys; from runinference import available_handlers;"
        "print(sum(info.name.startswith('beam-') for info in available_handlers()));"
        "print(any(name.startswith(('apache_beam', 'runinference_beam')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(NAMES)), "False"]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_leads_to_its_class_or_to_what_is_missing(name):
    lacking = None
    try:
        kind = handler_class(name)
    except BrokenHandlerError as error:
        lacking = error
    if lacking is None:
        assert issubclass(kind, base.ModelHandler)
        assert f"{kind.__module__}:{kind.__qualname__}" == NAMES[name]
        parameters = inspect.signature(kind).parameters.values()
        assert not [p for p in parameters if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        return
    cause = lacking.__cause__
    assert isinstance(cause, ImportError)
    assert str(cause) in str(lacking)
    assert str(cause).startswith(("No module named", "cannot import name"))


def test_options_say_what_the_model_is():
    options = inspect.signature(handler_class("beam-onnx-numpy")).parameters
    assert list(options) == [
        "model_uri",
        "session_options",
        "providers",
        "provider_options",
        "inference_fn",
    ]
    engine = inspect.signature(handler_class("beam-tensorrt-numpy")).parameters
    assert {"engine_path", "min_batch_size", "max_batch_size"} <= set(engine)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model_url", "did you mean 'model_uri'"),
        ("max_batch_size", r"batching=BatchConfig\(max_size=\.\.\.\)"),
        ("max_batch_weight", r"batching=BatchConfig\(max_weight=\.\.\.\)"),
        ("env_vars", r"execution=Execution\(env_vars=\.\.\.\)"),
        ("large_model", r"execution=Execution\(copies=\.\.\.\)"),
    ],
)
def test_other_options_are_errors(option, message):
    with pytest.raises(TypeError, match=message):
        create_handler("beam-sklearn-numpy", **{"model_uri": "model.pkl", option: 1})
    with pytest.raises(TypeError, match=option):
        handler_class("beam-sklearn-numpy")(model_uri="model.pkl", **{option: 1})


def test_a_missing_option_is_an_error():
    with pytest.raises(TypeError, match="'beam-onnx-numpy' needs model_uri="):
        create_handler("beam-onnx-numpy")


def test_a_remote_handler_has_the_options_of_its_retries():
    class Echo(base.RemoteModelHandler):
        def __init__(self, endpoint, *, min_batch_size=None, **kwargs):
            super().__init__(namespace="Echo", retry_filter=lambda error: False, **kwargs)
            self.endpoint = endpoint

        def create_client(self):
            return None

        def request(self, batch, model, inference_args=None):
            return batch

    class Named(ByName, Echo):
        pass

    assert list(inspect.signature(Named).parameters) == [
        "endpoint",
        "num_retries",
        "throttle_delay_secs",
        "window_ms",
        "bucket_ms",
        "overload_ratio",
        "rate_limiter",
    ]
    made = Named(endpoint="here", num_retries=2)
    assert (made.endpoint, made.num_retries) == ("here", 2)
    with pytest.raises(TypeError, match="num_retrys"):
        Named(endpoint="here", num_retrys=2)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider':UserWarning")
def test_a_handler_by_name_predicts_as_beams_class(run, models):
    by_name = run.one(RunInference("beam-onnx-numpy", model_uri=models.onnx), list(models.inputs))
    from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy

    by_class = run.one(RunInference(OnnxModelHandlerNumpy(models.onnx)), list(models.inputs))
    assert [result.inference.tolist() for result in by_name] == [
        result.inference.tolist() for result in by_class
    ]


def one_thread():
    return xgboost.XGBClassifier(n_jobs=1)


TABLES = {
    "beam-onnx-numpy": lambda m: {"model_uri": m.onnx, "providers": ["CPUExecutionProvider"]},
    "beam-pytorch-tensor": lambda m: {"state_dict_path": m.state, **LINEAR},
    "beam-sklearn-numpy": lambda m: {"model_uri": m.pickle},
    "beam-sklearn-pandas": lambda m: {"model_uri": m.frames_pickle},
    "beam-xgboost-numpy": lambda m: {"model_class": one_thread, "model_state": m.xgboost},
    "beam-xgboost-pandas": lambda m: {"model_class": one_thread, "model_state": m.xgboost},
    "beam-xgboost-scipy": lambda m: {"model_class": one_thread, "model_state": m.xgboost},
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_a_table_are_examples(run, models, name):
    if "xgboost" in name:
        pytest.importorskip("datatable", reason="Beam's module imports it, up to Python 3.12")
    table = pa.table({column: models.inputs[:, i] for i, column in enumerate("abcd")})
    [scored] = run.one(RunTableInference(name, **TABLES[name](models)), [table])
    assert scored.select(list("abcd")).equals(table)
    handler = create_handler(name, **TABLES[name](models))
    model = handler.load_model()
    expected = [
        np.asarray(result.inference).tolist()
        for result in handler.run_inference(handler.examples_from(table, model), model)
    ]
    assert np.allclose(scored["prediction"].to_pylist(), expected)
    assert len(set(map(str, expected))) > 1


def test_a_table_gives_a_tensor_per_column(run, models):
    vectors = pa.FixedSizeListArray.from_arrays(models.inputs.reshape(-1), 4)
    table = pa.table({"left": vectors, "right": vectors, "other": range(50)})
    named = RunTableInference(
        "beam-pytorch-keyed-tensor",
        state_dict_path=models.named_state,
        model_class=Named,
        features=["left", "right"],
    )
    [scored] = run.one(named, [table])
    net = Named()
    net.load_state_dict(torch.load(models.named_state))
    rows = torch.tensor(models.inputs)
    expected = net(rows, rows)["sum"].detach().numpy()
    assert np.allclose(scored["prediction_sum"].to_pylist(), expected, atol=1e-6)


def test_the_command_line_scores_with_it(models, tmp_path):
    table = pa.table({column: models.inputs[:, i] for i, column in enumerate("abcd")})
    pq.write_table(table, tmp_path / "rows.parquet")
    command = [sys.executable, "-m", "runinference_cli", "score", "--handler", "beam-onnx-numpy"]
    command += ["--handler.model_uri", models.onnx, "--input", str(tmp_path / "rows.parquet")]
    command += ["--handler.providers", "[CPUExecutionProvider]", "--quiet"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "scored")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    scored = pq.read_table(tmp_path / "scored")
    assert scored.num_rows == 50
    assert scored.column_names == ["a", "b", "c", "d", "prediction"]
