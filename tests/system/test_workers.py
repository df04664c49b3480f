"""Workers in other processes and environments: Beam's pool, and the embedded runner's own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import importlib_metadata
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from environments import ROOT, Environment, run  # found through conftest

from runinference import RunInference, __version__

pytestmark = pytest.mark.slow

PIPELINE = Path(__file__).with_name("worker_pipeline.py")
OBSERVER = """
import os
from runinference.hooks import observer

class Noting:
    @observer
    def model_loaded(self, event):
        note("loaded", event.handler)

    @observer
    def batch_predicted(self, event):
        note("predicted", event.size)

def note(*what):
    with open(os.environ["OBSERVED"], "a") as file:
        file.write(f"{os.getpid()} {' '.join(map(str, what))}\\n")
"""


@pytest.fixture(scope="module")
def observing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which a worker has an observer installed, and where it writes."""
    site = tmp_path_factory.mktemp("observer")
    info = site / "noting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[runinference.observers]\nnoting = noting:Noting\n")
    (site / "noting.py").write_text(OBSERVER)
    return {"PYTHONPATH": str(site), "OBSERVED": str(site / "observed")}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(python: str | Path, module: str, *options: str, env: dict[str, str]) -> Iterator[None]:
    """A server of Beam's, started from the root folder, whose modules nobody could mistake."""
    with subprocess.Popen(
        [str(python), "-m", f"apache_beam.runners.{module}", *options],
        cwd="/",
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            yield
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def worker_environment(
    tmp_path_factory: pytest.TempPathFactory,
    third_party: Path,
    dist: Path,
) -> Environment:
    """What the workers of the pool have: of ours the core, from its wheel."""
    environment = Environment(tmp_path_factory.mktemp("pool") / "environment", third_party, dist)
    environment.install("runinference")
    return environment


@pytest.fixture(scope="module")
def pool(worker_environment: Environment, observing: dict[str, str]) -> Iterator[list[str]]:
    """The options for a job service and a pool, which starts a process for each job."""
    service, workers = free_port(), free_port()
    binaries = worker_environment.bin  # a pool starts the first "python" on the path
    env = {**observing, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    with (
        serving(
            binaries / "python",
            "worker.worker_pool_main",
            f"--service_port={workers}",
            env=env,
        ),
        serving(sys.executable, "portability.local_job_service_main", "-p", str(service), env={}),
    ):
        for port in (service, workers):
            with grpc.insecure_channel(f"localhost:{port}") as channel:
                grpc.channel_ready_future(channel).result(120)
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{service}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{workers}",
        ]


def error_of_a_job(options: list[str], **more: Any) -> str:
    """What a job says that fails before it predicts anything."""
    folder = "/nowhere"  # a model that could not be loaded, if it came to that
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    transform = RunInference("sklearn-numpy", model_uri=f"{folder}/model.skops", **more)
    _ = pipeline | beam.Create([[1.0, 2.0]]) | transform
    with pytest.raises(RuntimeError) as raised:
        pipeline.run().wait_until_finish()
    [found] = set(re.findall(r"WorkerEnvironmentError: (.*) \[while running", str(raised.value)))
    return found


def test_a_worker_without_the_plugin_says_so(
    pool: list[str], worker_environment: Environment
) -> None:
    assert error_of_a_job(pool) == (
        f"this worker ({worker_environment.bin}/python) is not what the pipeline was built with: "
        f"runinference-sklearn is not installed here, the pipeline was built with {__version__}. "
        "Install there, in its image or requirements: "
        f"pip install runinference-sklearn=={__version__}"
    )


def test_a_worker_with_another_plugin_and_another_framework_says_so(
    pool: list[str], worker_environment: Environment, tmp_path: Path
) -> None:
    source = tmp_path / "plugins" / "sklearn"
    shutil.copytree(ROOT / "plugins" / "sklearn", source)
    version = tmp_path / "core" / "src" / "runinference" / "_version.py"
    version.parent.mkdir(parents=True)
    version.write_text('__version__ = "0.1.99"\n')
    build = f"from hatchling import build; build.build_wheel({str(tmp_path)!r})"
    run(sys.executable, "-c", build, cwd=source)
    [wheel] = tmp_path.glob("*.whl")
    worker_environment.install(wheel)
    # found before the real one, as an older installation would be
    [site] = worker_environment.bin.parent.glob("lib/python*/site-packages")
    older = site / "scikit_learn-1.2.3.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 1.2.3\n")
    try:
        told = error_of_a_job(pool)
    finally:
        shutil.rmtree(older)
        plugin = f"runinference-sklearn=={__version__}"
        worker_environment.install("--force-reinstall", "--no-deps", plugin)
    here = importlib_metadata.version("scikit-learn")
    assert (
        f"runinference-sklearn 0.1.99 is installed here, the pipeline was built with {__version__}"
        f"; scikit-learn 1.2.3 is installed here, the pipeline was built with {here}. "
    ) in told
    assert f"pip install runinference-sklearn=={__version__} scikit-learn=={here}; " in told


def check_a_run(folder: Path, observed: Path, *options: str) -> set[int]:
    """Run the pipeline; check what it predicted, counted and observed; the workers' processes."""
    observed.unlink(missing_ok=True)
    counted = json.loads(run(sys.executable, PIPELINE, folder, *options).stdout.splitlines()[-1])
    lines = {
        name: [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("results", "failures", "keyed", "scored")
    }
    found = {name: sorted(element for _, element in lines[name]) for name in lines}
    good = [number for number in range(200) if number % 10 != 3]
    assert found["results"] == [[number, number * 3, "times 3"] for number in good]
    message = "a number that ends in 3"
    assert found["failures"] == [
        [number, "inference", "ValueError", message] for number in range(3, 200, 10)
    ]
    assert found["keyed"] == sorted(
        ["odd", number, number * 5] if number % 2 else ["even", number, number * 2]
        for number in range(200)
    )
    assert found["scored"] == [row * 6.0 + 1.0 for row in range(10)]
    assert {name: count for name, count in counted.items() if name.endswith("s")} == {
        "Dead letters num_examples": 200,
        "Dead letters num_inferences": 180,
        "Dead letters num_failures": 20,
        "Keyed num_examples": 200,
        "Keyed num_inferences": 200,
        "Keyed even-_num_inferences": 100,
        "Keyed odd-_num_inferences": 100,
        "Plugin num_examples": 10,
        "Plugin num_inferences": 10,
    }
    workers = {pid for name in lines for pid, _ in lines[name]}
    events = [line.split() for line in observed.read_text().splitlines()]
    assert {int(pid) for pid, *_ in events} == workers
    assert sum(int(size) for _, event, size in events if event == "predicted") == 390
    loaded = {name for _, event, name in events if event == "loaded"}
    assert loaded == {"Picky", "Scaled", "sklearn-numpy"}
    return workers


def test_everything_crosses_to_a_pool(
    pool: list[str],
    worker_environment: Environment,
    observing: dict[str, str],
    tmp_path: Path,
) -> None:
    worker_environment.install("runinference[sklearn]")
    [worker] = check_a_run(tmp_path, Path(observing["OBSERVED"]), *pool)
    assert worker != os.getpid()


def test_everything_crosses_to_two_workers(
    observing: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in observing.items():
        monkeypatch.setenv(name, value)
    workers = check_a_run(
        tmp_path,
        Path(observing["OBSERVED"]),
        "--runner=FnApiRunner",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    )
    assert len(workers) == 2
