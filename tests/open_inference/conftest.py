"""MLServer on loopback, with a model of scikit-learn's digits, for all tests of a run."""

import dataclasses
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

sys.path.append(str(Path(__file__).parent))  # for the modules beside the tests
sys.path.append(str(Path(__file__).parents[1] / "remote"))

from fault_proxy import Proxy  # found through the line above

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "build" / "mlserver"


@dataclasses.dataclass
class Digits:
    """Inputs, the model's file, and what the model predicts in this process."""

    inputs: object
    path: Path
    other_path: Path
    predictions: list
    probabilities: object


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    inputs, labels = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=2000).fit(inputs[:600], labels[:600])
    path = tmp_path_factory.mktemp("digits") / "model.joblib"
    joblib.dump(model, path)
    other = LogisticRegression(max_iter=2000).fit(inputs[:600], 9 - labels[:600])
    other_path = path.with_name("other.joblib")
    joblib.dump(other, other_path)
    return Digits(
        inputs, path, other_path, list(model.predict(inputs)), model.predict_proba(inputs)
    )


@dataclasses.dataclass
class MLServer:
    port: int
    grpc_port: int

    @property
    def http(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc(self):
        return f"grpc://127.0.0.1:{self.grpc_port}"

    def url(self, protocol):
        return self.http if protocol == "open-inference-http" else self.grpc


@pytest.fixture(scope="session")
def mlserver_python():
    """An interpreter that has MLServer, and the protocol's other client."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip(
            "MLServer is not installed in build/mlserver: `make test` does it, where a Python "
            "before 3.13 and a package index can be reached"
        )
    return python


@pytest.fixture(scope="session")
def mlserver(tmp_path_factory, digits, mlserver_python):
    folder = tmp_path_factory.mktemp("mlserver")
    ports = _free_ports(3)
    write(folder / "settings.json", _settings(ports))
    for name, path in (("digits", digits.path), ("other", digits.other_path)):
        model = {
            "name": name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(path), "version": "v1"},
        }
        write(folder / name / "model-settings.json", model)
    shutil.copy(ROOT / "tests/open_inference/models/echo.py", folder / "echo.py")
    echo = {"name": "echo", "implementation": "echo.Echo"}
    write(folder / "echo" / "model-settings.json", echo)
    write(folder / "told" / "model-settings.json", {**echo, "name": "told", "inputs": TOLD})
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(
            [mlserver_python, "-m", "mlserver.cli.main", "start", folder],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={"PYTHONPATH": str(folder), "PATH": str(ENVIRONMENT / "bin")},
        )
    try:
        _wait_until_ready(
            process, f"http://127.0.0.1:{ports[0]}/v2/health/ready", folder / "log.txt"
        )
        yield MLServer(ports[0], ports[1])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def proxy(mlserver):
    """A proxy before MLServer's HTTP port; a test sets its `fault`."""
    proxy = Proxy(mlserver.port)
    yield proxy
    proxy.close()


# What the server says of the inputs of the model "told".
TOLD = [
    {"name": "text", "datatype": "BYTES", "shape": [-1]},
    {"name": "pair", "datatype": "FP32", "shape": [-1, 2]},
    {"name": "flag", "datatype": "BOOL", "shape": [-1, 1]},
]


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


def _settings(ports):
    return {
        "host": "127.0.0.1",
        "http_port": ports[0],
        "grpc_port": ports[1],
        "metrics_port": ports[2],
        "parallel_workers": 0,
    }


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_until_ready(process, url, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"MLServer does not start:\n{log.read_text()}")
