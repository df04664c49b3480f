"""``python -m benchmarks.remote``: a model behind a server, beside Beam's own RemoteModelHandler.

Both make the same requests of the same size to one MLServer on loopback, behind a relay that brings
each answer 20 ms later. What differs is how many requests are under way: Beam makes one after the
other. By turns, in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import httpx
import joblib
import numpy as np
from apache_beam.ml.inference import base
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from runinference import BatchConfig, Execution, RunInference

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build" / "mlserver" / "bin" / "python"
RELAY = ROOT / "tests" / "remote" / "fault_proxy.py"
LATENCY_S = 0.02
PROMISED = 5.0


class BeamsHandler(base.RemoteModelHandler):
    """What a user of Beam's own class writes for this server."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__(namespace="bench")
        self._url = f"{url}/v2/models/digits/infer"
        self._size = size

    def create_client(self) -> httpx.Client:
        """One connection, kept."""
        return httpx.Client()

    def request(self, batch: Any, model: httpx.Client, inference_args: Any = None) -> Any:
        """The protocol's request, in JSON."""
        array = np.stack(batch)
        tensor = {"name": "input-0", "datatype": "FP64", "shape": list(array.shape)}
        answer = model.post(
            self._url, json={"inputs": [{**tensor, "data": array.reshape(-1).tolist()}]}
        )
        answer.raise_for_status()
        labels = answer.json()["outputs"][0]["data"]
        return [base.PredictionResult(e, i) for e, i in zip(batch, labels, strict=True)]

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Requests of one size."""
        return {"min_batch_size": self._size, "max_batch_size": self._size}


def main() -> int:
    """Measure, print a line per system, and compare with what is promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remote", description=__doc__)
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--size", type=int, default=8, help="examples in a request")
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    parsed = parser.parse_args()
    inputs, labels = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=2000).fit(inputs, labels)
    labels = model.predict(inputs)
    predicted = sorted(int(labels[n % len(inputs)]) for n in range(parsed.examples))
    rows = [inputs[n % len(inputs)] for n in range(parsed.examples)]
    size = parsed.size
    with _mlserver(model) as port, _relay(port) as url:
        options: dict[str, Any] = {"url": url, "model_name": "digits"}
        one = BatchConfig(min_size=size, max_size=size)
        systems = {
            "beam": lambda: base.RunInference(BeamsHandler(url, size)),
            "one in flight": lambda: RunInference(
                "open-inference-http", batching=one, execution=Execution(), **options
            ),
            f"{parsed.in_flight} in flight": lambda: RunInference(
                "open-inference-http",
                batching=BatchConfig(max_size=size),
                execution=Execution(in_flight=parsed.in_flight),
                **options,
            ),
        }
        rates: dict[str, list[float]] = {name: [] for name in systems}
        for repetition in range(parsed.repetitions + 1):
            for name, make in systems.items():
                rate = _measure(rows, make(), predicted)
                if repetition:  # the first is for everything to be imported and connected
                    rates[name].append(rate)
    beams = statistics.median(rates["beam"])
    for name, found in rates.items():
        median = statistics.median(found)
        each = ", ".join(f"{rate:,.0f}" for rate in found)
        print(f"{name:14} {median:8,.0f} examples/s ({each}), {median / beams:5.2f} of Beam's")
    ratio = statistics.median(rates[f"{parsed.in_flight} in flight"]) / beams
    print(f"promised: {PROMISED:g} times Beam's with several in flight; found: {ratio:.2f}")
    return int(ratio < PROMISED)


def _measure(rows: list[Any], transform: Any, predicted: list[int]) -> float:
    found: list[int] = []
    _found.append(found)
    begun = time.perf_counter()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        results = pipeline | beam.Create(rows, reshuffle=False) | transform
        _ = results | beam.Map(_keep, len(_found) - 1)
    seconds = time.perf_counter() - begun
    assert sorted(found) == predicted
    return len(rows) / seconds


_found: list[list[int]] = []


def _keep(result: Any, run: int) -> None:
    _found[run].append(int(result.inference))


@contextlib.contextmanager
def _mlserver(model: Any) -> Iterator[int]:
    if not PYTHON.exists():
        raise SystemExit(f"{PYTHON} is missing: `make bench-remote` installs MLServer there")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(model, Path(folder, "model.joblib"))
        names = ("http_port", "grpc_port", "metrics_port")
        settings = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, ports))}
        Path(folder, "settings.json").write_text(json.dumps(settings))
        told = {"name": "digits", "implementation": "mlserver_sklearn.SKLearnModel"}
        told |= {"parameters": {"uri": "./model.joblib"}}
        Path(folder, "model-settings.json").write_text(json.dumps(told))
        process = subprocess.Popen(
            [PYTHON, "-m", "mlserver.cli.main", "start", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = f"http://127.0.0.1:{ports[0]}/v2/health/ready"
            while True:
                if process.poll() is not None:
                    raise SystemExit("MLServer does not start")
                with contextlib.suppress(OSError), urllib.request.urlopen(ready):
                    break
                time.sleep(0.1)
            yield ports[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextlib.contextmanager
def _relay(port: int) -> Iterator[str]:
    command = [sys.executable, str(RELAY), str(port), str(LATENCY_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    # by its name, since pickled functions of the main module have globals of their own
    sys.exit(importlib.import_module("benchmarks.remote").main())
