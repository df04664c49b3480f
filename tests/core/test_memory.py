"""A call that runs out of memory is halved, and the size that worked is remembered."""

import numpy as np
import pyarrow as pa
import pytest

from runinference import BatchConfig, ModelHandler, RunInference, RunTableInference
from runinference.hooks import BatchHalved, observer, observing

calls = []


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class Cramped(ModelHandler):
    """Has room for so many examples in one call."""

    def __init__(self, room, error):
        self.room = room
        self.error = error

    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        calls.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return [example * 2 for example in batch]


ERRORS = [
    MemoryError(),
    OutOfMemoryError("of any wording"),
    RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    np._core._exceptions._ArrayMemoryError((9,), np.dtype("f8")),
]


class Ear:
    def __init__(self):
        self.heard = []

    @observer
    def batch_halved(self, event):
        self.heard.append(event)


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_halves_until_it_fits_and_remembers(run, error):
    ear = Ear()
    with observing(ear):
        results = run.one(
            RunInference(Cramped(3, error), batching=BatchConfig(min_size=10, max_size=10)),
            list(range(20)),
        )
    assert sorted(result.inference for result in results) == list(range(0, 40, 2))
    assert calls == [10, 5, 2, 2, 1, 2, 2, 1] + [2] * 5
    assert ear.heard == [BatchHalved("Cramped", None, 10), BatchHalved("Cramped", None, 5)]
    assert run.counter("halved_batches_counter") == 2
    assert run.counter("num_inferences") == 20
    assert run.counter("failed_batches_counter") == 0


def test_tables_too(run):
    [scored] = run.one(RunTableInference(Cramped(4, MemoryError())), [pa.table({"x": range(16)})])
    assert scored.column("prediction").to_pylist() == list(range(0, 32, 2))
    assert calls[:3] == [16, 8, 4]


def test_one_example_that_does_not_fit_is_an_error_that_tells_its_size(run):
    handler = Cramped(0, MemoryError("no room"))
    with pytest.raises(Exception, match=r"single example of 80 bytes: no room"):
        run.one(RunInference(handler), [np.zeros(10)])


def test_other_errors_are_not_retried(run):
    with pytest.raises(Exception, match="broken"):
        run.one(
            RunInference(
                Cramped(0, RuntimeError("broken")), batching=BatchConfig(min_size=4, max_size=4)
            ),
            [1, 2, 3, 4],
        )
    assert calls == [4]
