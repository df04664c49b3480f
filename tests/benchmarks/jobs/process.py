"""What a process of its own costs a model: per call, per crash, at the start.

``PYTHONPATH=tests python -m benchmarks.jobs.process`` prints the tables of
``docs/guides/processes.md``. No pipeline is around the models.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa

from runinference import Execution, ModelHandler
from runinference.versions import ModelVersion

__all__ = ["JOBS", "main"]

JOBS = ()
_SIZES = (1, 1_000, 65_536)
_WIDTH = 16
_EXAMPLES = 30
_BAD = 17
_MEGABYTES = 300
_WORKERS = 4


def main(folder: Path) -> None:
    """Print the tables."""
    inputs = np.random.default_rng(0).random((max(_SIZES), _WIDTH))
    print("| call, ms of processor time | here | in a process |\n| --- | --- | --- |")
    with _models(_sklearn(folder, inputs, None)) as (here, there):
        _print_calls(here, there, inputs)
    print("\n| model | load here, s | in a process, s | crash, s | next ones, s | 1 among 30, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, handler in (
        ("logistic regression, skops", _sklearn(folder, inputs, crash_or_predict)),
        ("network, 10 KB", _torch(folder, 0)),
        (f"network, {_MEGABYTES} MB", _torch(folder, _MEGABYTES)),
    ):
        with _models(handler) as (here, there):
            print(f"| {name} | {here.seconds:.2f} | {there.seconds:.2f} | {_crashes(there)} |")
    print(f"\n| {_MEGABYTES} MB of weights, {_WORKERS} workers | memory of all processes, MB |")
    print("| --- | --- |")
    for name, execution in (
        ("a model in each", {}),
        ("`process=True` in each", {"process": True}),
        ("`copies=1`", {"copies": 1}),
        (f"`copies={_WORKERS}`", {"copies": _WORKERS}),
    ):
        print(f"| {name} | {_memory(folder, execution):,.0f} |")


class Weights(ModelHandler[Any, Any, Any]):
    """A model that is nothing but its weights."""

    def load_model(self) -> Any:
        """Zeros would be no memory."""
        return np.ones(_MEGABYTES << 17)

    def run_inference(
        self, batch: Sequence[Any], model: Any, inference_args: dict[str, Any] | None = None
    ) -> list[Any]:
        """Read all of it, for so long that all processes are needed at the same time."""
        time.sleep(1)
        return [float(model.sum()) for _ in batch]


def _memory(folder: Path, execution: dict[str, Any]) -> float:
    """Of several workers with what they have started: shared memory counts once."""
    with open(folder / "version", "wb") as file:
        options = Execution(**execution)
        cloudpickle.dump(ModelVersion(Weights(), folder.name, execution=options), file)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, folder / "version"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(_WORKERS)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"done\n"
    own = os.getpid()
    held = sum(map(_proportional_bytes, (_family(own) | _servers()) - {own}))
    for worker in workers:
        worker.communicate()
    return held / 2**20


_WORKER = """
import sys, cloudpickle
from runinference.batch import RowBatch
from runinference.loader import load_model
with open(sys.argv[1], "rb") as file:
    model = load_model(cloudpickle.load(file))
print("ready", flush=True)
sys.stdin.readline()
model.predict(RowBatch([1]), None)
print("done", flush=True)
sys.stdin.readline()
model.close()
"""


def _family(pid: int) -> set[int]:
    """A process with all that descend from it."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= _family(int(child))
    return found


def _servers() -> set[int]:
    """The processes of shared models, which descend from nobody here."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"runinference.process.main" in path.read_bytes():
                found |= _family(int(path.parent.name))
    return found


def _proportional_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def crash_or_predict(model: Any, batch: Any, *_: Any) -> Any:
    """A prediction, or the end of the process where the batch has an infinite number."""
    if bool((batch == np.inf).any()):
        os.abort()
    return model.predict(batch)


def crash_or_forward(batch: Any, model: Any, *_: Any) -> Any:
    """The same for a network."""
    if bool((batch == np.inf).any()):
        os.abort()
    return model(batch)


def network(megabytes: int) -> Any:
    """A small network that holds so much more."""
    import torch

    made = torch.nn.Sequential(torch.nn.Linear(_WIDTH, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    made.register_buffer("more", torch.zeros(megabytes << 18))
    return made


def _sklearn(folder: Path, inputs: np.ndarray[Any, Any], inference_fn: Any) -> Any:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    from runinference_sklearn import SklearnModelHandlerNumpy

    path = folder / "model.skops"
    skops.io.dump(LogisticRegression().fit(inputs[:1000], inputs[:1000, 0] > 0.5), path)
    return SklearnModelHandlerNumpy(str(path), inference_fn=inference_fn)


def _torch(folder: Path, megabytes: int) -> Any:
    import safetensors.torch

    from runinference_pytorch import PytorchModelHandlerTensor

    path = folder / f"model-{megabytes}.safetensors"
    safetensors.torch.save_file(network(megabytes).state_dict(), path)
    return PytorchModelHandlerTensor(
        str(path), network, {"megabytes": megabytes}, inference_fn=crash_or_forward
    )


class _Timed:
    """A loaded model, and how long that took."""

    def __init__(self, load: Callable[[], Any]) -> None:
        start = time.perf_counter()
        self.model = load()
        self.seconds = time.perf_counter() - start

    def ask(self, examples: Sequence[Any]) -> Any:
        from runinference.batch import RowBatch

        return self.model.predict(RowBatch(list(examples)), None)


@contextmanager
def _models(handler: Any) -> Iterator[tuple[_Timed, _Timed]]:
    from runinference.model import LocalModel
    from runinference.process import ProcessModel

    version = ModelVersion(handler, "", execution=Execution(process=True))
    there = _Timed(lambda: ProcessModel(version))
    here = _Timed(lambda: LocalModel(version))
    try:
        yield here, there
    finally:
        there.model.close()


def _print_calls(here: _Timed, there: _Timed, inputs: np.ndarray[Any, Any]) -> None:
    from runinference.batch import RowBatch, TableBatch

    for size in _SIZES:
        table = pa.table({f"f{number}": inputs[:size, number] for number in range(_WIDTH)})
        for kind, batch in (
            ("rows", RowBatch([row.copy() for row in inputs[:size]])),
            ("a table", TableBatch(table)),
        ):
            times = [_processor_ms(timed, batch) for timed in (here, there)]
            print(f"| {kind} of {size:,} x {_WIDTH} | {times[0]:.2f} | {times[1]:.2f} |")


def _processor_ms(timed: _Timed, batch: Any) -> float:
    """Of one call, in all processes: what other work on the machine does not add to."""
    timed.model.predict(batch, None)
    family = _family(os.getpid())
    count = 5 if len(batch) > 10_000 else 60
    found = []
    for _ in range(3):
        before = sum(map(_busy_ns, family))
        for _ in range(count):
            timed.model.predict(batch, None)
        found.append((sum(map(_busy_ns, family)) - before) / count / 1e6)
    return min(found)


def _busy_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _crashes(there: _Timed) -> str:
    """Of a crash and the next call that it makes wait; of a search for the example to blame."""
    from runinference.batch import RowBatch
    from runinference.config import BatchConfig
    from runinference.errors import ModelCrashedError
    from runinference.failures import FailurePolicy
    from runinference.hooks import Observers
    from runinference.limits import Limits
    from runinference.solve import solve

    is_torch = "torch" in type(there.model._handler).__module__
    rows = np.random.default_rng(1).random((_EXAMPLES, _WIDTH)).astype("float32")
    rows[_BAD] = np.inf
    examples: list[Any] = [row.copy() for row in rows]
    if is_torch:
        import torch

        examples = [torch.from_numpy(row) for row in examples]
    good = examples[:_BAD]

    def crash() -> float:
        start = time.perf_counter()
        try:
            there.ask(examples)
        except ModelCrashedError:
            there.ask(good)
            return time.perf_counter() - start
        raise AssertionError("it did not crash")

    def search() -> float:
        start = time.perf_counter()
        policy, limits = FailurePolicy(Exception), Limits(BatchConfig())
        solved = solve(RowBatch(examples), there.model, limits, None, Observers(), policy)
        assert [list(failed.positions) for failed in solved.failures] == [[_BAD]]
        return time.perf_counter() - start

    first = crash()
    later = min(crash() for _ in range(9))
    among = min(search() for _ in range(5))
    return f"{first:.3f} | {later:.3f} | {among:.2f}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
