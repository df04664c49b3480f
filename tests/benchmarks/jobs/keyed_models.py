"""1,000 keys over 200 models of scikit-learn, of which a process may hold 50: ours beside Beam's.

``make bench-keyed`` prints the table of ``docs/guides/model-per-key.md``; each system runs in a
process of its own, whose memory is measured with that of the processes that it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["JOBS", "main"]

JOBS = ()
_WIDTH = 16
_BOUND = 50
_LARGE = 2_000
_HEADER = (
    "| | examples | examples/s | processor, ms each | loads | evictions | most at a time | MiB |"
)
_SYSTEMS = {
    "ours": "this one",
    "ours-large": f"this one, `BatchConfig(min_size={_LARGE}, max_size={_LARGE})`",
    "beam": "Beam's `KeyedModelHandler`",
}


def main() -> None:
    """Print the table, or run one system."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--beam-examples", type=int, default=1_000)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--system", choices=_SYSTEMS)
    parser.add_argument("--folder", type=Path)
    told = parser.parse_args()
    if told.system is not None:
        print(json.dumps(_run(told)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_models(Path(folder), told.models)
        print(_HEADER)
        print(re.sub("[^|]+", " --- ", _HEADER))
        few, many = told.beam_examples, told.examples
        for system, examples in (
            ("beam", few),
            ("ours", few),
            ("ours", many),
            ("ours-large", many),
        ):
            print(_row(_SYSTEMS[system], _measured(told, system, examples, folder)), flush=True)


def _measured(told: Any, system: str, examples: int, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.jobs.keyed_models", "--system", system]
    command += ["--examples", str(examples), "--models", str(told.models)]
    command += ["--keys", str(told.keys), "--folder", folder]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    (Path(folder) / f"{system}.started").unlink(missing_ok=True)
    most, spent, started = 0, dict[int, float](), 0.0
    while process.poll() is None:
        memory, now = _of_tree(process.pid)
        most, spent = max(most, memory), spent | now
        if not started and (Path(folder) / f"{system}.started").exists():
            started = sum(spent.values())
        time.sleep(0.1)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    found = {"memory": most, "processor": sum(spent.values()) - started, "examples": examples}
    if process.returncode:
        return {**found, "failed": process.returncode}
    return {**found, **json.loads(lines[-1])}


def _row(system: str, found: dict[str, Any]) -> str:
    memory = f"{found['memory'] / 2**20:,.0f}"
    if "failed" in found:
        return f"| {system} | {found['examples']:,} | failed: {found['failed']} |||||{memory} |"
    rate = found["examples"] / found["seconds"]
    processor = 1000 * found["processor"] / found["examples"]
    counts = " | ".join(str(found.get(name, "?")) for name in ("loads", "evictions", "most"))
    speed = f"{rate:,.0f} | {processor:.2f}"
    return f"| {system} | {found['examples']:,} | {speed} | {counts} | {memory} |"


def _run(told: Any) -> dict[str, Any]:
    import apache_beam as beam
    import sklearn.linear_model  # noqa: F401 - as Beam's handler does, before the time is taken
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    rng = np.random.default_rng(0)
    keys = rng.integers(0, told.keys, told.examples).tolist()
    rows = rng.random((told.examples, _WIDTH))
    inputs = list(zip(keys, rows, strict=True))

    transform, counts = (_beams if told.system == "beam" else _ours)(told)
    counted = told.folder / f"{told.system}.count"
    (told.folder / f"{told.system}.started").touch()
    start = time.perf_counter()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | beam.Create([None])
            | beam.FlatMap(lambda _: inputs)
            | transform
            | beam.combiners.Count.Globally()
            | beam.Map(lambda count: counted.write_text(str(count)))
        )
    seconds = time.perf_counter() - start
    assert int(counted.read_text()) == told.examples
    return {"examples": told.examples, "seconds": seconds, **counts()}


def _mappings(told: Any, make: Callable[[list[int], str], Any]) -> list[Any]:
    return [
        make(list(range(model, told.keys, told.models)), str(told.folder / f"{model}.pkl"))
        for model in range(told.models)
    ]


def _ours(told: Any) -> tuple[Any, Callable[[], dict[str, Any]]]:
    from runinference import BatchConfig, KeyedModelHandler, KeyModelMapping, RunInference
    from runinference.hooks import ModelClosed, ModelLoaded, observer
    from runinference.hooks import _registered as registered
    from runinference_sklearn import SklearnModelHandlerNumpy

    class Counts:
        loads = alive = most = 0

        @observer
        def model_loaded(self, event: ModelLoaded) -> None:
            self.loads += 1
            self.alive += 1
            self.most = max(self.most, self.alive)

        @observer
        def model_closed(self, event: ModelClosed) -> None:
            self.alive -= 1

    counts = Counts()
    registered.append(counts)
    mappings = _mappings(
        told,
        lambda keys, path: KeyModelMapping(
            keys, SklearnModelHandlerNumpy(path, model_file_type="PICKLE")
        ),
    )
    handler = KeyedModelHandler(mappings, max_models_per_worker_hint=_BOUND)
    large = BatchConfig(min_size=_LARGE, max_size=_LARGE)
    batching = large if told.system == "ours-large" else None
    return RunInference(handler, batching=batching), lambda: {
        "loads": counts.loads,
        "most": counts.most,
        # those that are there at the end are as many as ever were
        "evictions": counts.loads - counts.most,
    }


def _beams(told: Any) -> tuple[Any, Callable[[], dict[str, Any]]]:
    from apache_beam.ml.inference.base import KeyedModelHandler, KeyModelMapping, RunInference
    from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy

    mappings = _mappings(
        told, lambda keys, path: KeyModelMapping(keys, SklearnModelHandlerNumpy(path))
    )
    return RunInference(KeyedModelHandler(mappings, max_models_per_worker_hint=_BOUND)), dict


def _write_models(folder: Path, count: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    inputs = rng.random((200, _WIDTH))
    for number in range(count):
        model = LogisticRegression().fit(inputs, inputs[:, number % _WIDTH] > 0.5)
        (folder / f"{number}.pkl").write_bytes(pickle.dumps(model))


def _of_tree(root: int) -> tuple[int, dict[int, float]]:
    """Of a process and all that it has started: proportional memory in bytes, and seconds of
    processor time of each."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(stat[1]), []).append(int(entry))
            seconds[int(entry)] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    total, waiting, tree = 0, [root], set[int]()
    while waiting:
        process = waiting.pop()
        tree.add(process)
        waiting += children.get(process, [])
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total, {process: seconds[process] for process in tree if process in seconds}


if __name__ == "__main__":
    main()
