"""A model in a process of its own: what ends it, what comes back, that nothing stays behind."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest

from runinference import ExampleFailed, Execution, ModelHandler, VectorModelHandler
from runinference.batch import RowBatch, TableBatch
from runinference.config import BatchConfig
from runinference.errors import (
    ConfigurationError,
    InferenceError,
    ModelCrashedError,
    ModelLoadError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from runinference.hooks import Observers, observer
from runinference.limits import Limits
from runinference.loader import Loader, load_model
from runinference.model import LocalModel
from runinference.process import ProcessModel
from runinference.process import model as module
from runinference.solve import solve
from runinference.versions import ModelVersion

# The child cannot import this module by the name that pytest gives it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class OddError(Exception):
    """Can be pickled, and not made again."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class LocalTrouble(ValueError):
    pass


def fail_with_lambda():
    error = ValueError("holds a lock")
    error.lock = threading.Lock()
    raise error


class Behaving(ModelHandler):
    """Does what an example says, and doubles numbers."""

    def __init__(self, folder=None):
        self.folder = folder

    def load_model(self):
        self.model_id, self.sha256, self.lock = "model@1", "ab" * 32, threading.Lock()
        self.note("loads")
        return {"pid": os.getpid()}

    def note(self, name):
        if self.folder is not None:
            with open(Path(self.folder) / name, "a") as file:
                file.write(f"{os.getpid()}\n")

    def close_model(self, model):
        self.note("closed")

    def run_inference(self, batch, model, inference_args=None):
        return [self.act(example) for example in batch]

    def act(self, example):
        if isinstance(example, np.ndarray):
            return example * 2
        match example:
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "_exit":
                os._exit(3)
            case "exit":
                sys.exit("good bye")
            case "interrupt":
                raise KeyboardInterrupt
            case "sleep":
                time.sleep(1000)
            case "C loop":
                sum(iter(int, 1))  # never lets go of the interpreter's lock
            case "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(1000)
            case "print":
                print("to stdout")
                os.write(1, b"x" * 100_000)
                os.write(2, b"y" * 100_000)
            case "grandchild":
                child = subprocess.Popen(["sleep", "1000"])
                (Path(self.folder) / "grandchild").write_text(str(child.pid))
                os._exit(1)
            case "pid":
                self.note("pids")
                return os.getpid()
            case "env":
                return os.environ.get("RUNINFERENCE_TEST")
            case "error":
                raise LocalTrouble("bad example")
            case "odd error":
                raise OddError(1, 2)
            case "error with a lock":
                fail_with_lambda()
            case "memory":
                raise MemoryError("no memory")
            case "failed":
                return ExampleFailed(OddError("a", "b"))
            case "lock":
                return threading.Lock()
        return example * 2


def version(handler, **execution):
    return ModelVersion(handler, "f", execution=Execution(process=True, **execution))


def rows(*examples):
    return RowBatch(list(examples))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One model for tests that leave it as it is, or only crash it."""
    model = ProcessModel(version(Behaving(str(tmp_path_factory.mktemp("shared"))), timeout=60))
    yield model
    model.close()


@pytest.fixture
def made():
    models = []

    def make(handler, **execution):
        models.append(ProcessModel(version(handler, **execution)))
        return models[-1]

    yield make
    for model in models:
        model.close()


def server_of(model):
    return model._slots.queue[0].connection._server


def gone(pid):
    """Whether a process ends within some seconds."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_predicts_in_another_process(shared):
    assert shared.predict(rows(1, 2.5, "a"), None) == [2, 5.0, "aa"]
    [pid] = shared.predict(rows("pid"), None)
    assert pid not in (os.getpid(), os.getppid())


def test_what_the_load_learnt_comes_back(shared):
    assert (shared.name, shared.model_id, shared.sha256) == ("Behaving", "model@1", "ab" * 32)
    assert shared.byte_size >= 0


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ("segfault", r"was killed by SIGSEGV while predicting 2 examples; .*string_at"),
        ("abort", r"was killed by SIGABRT"),
        ("_exit", r"ended with exit status 3 while predicting 2 examples$"),
        ("exit", r"ended with exit status 1 .*SystemExit: good bye"),
        ("interrupt", r"ended with exit status 1 .*KeyboardInterrupt"),
    ],
)
def test_a_crash_costs_its_call_alone(shared, example, message):
    [before] = shared.predict(rows("pid"), None)
    with pytest.raises(ModelCrashedError, match=f"(?s)Behaving: the model's process {message}"):
        shared.predict(rows(1, example), None)
    after, doubled = shared.predict(rows("pid", 1), None)
    assert (after != before, doubled) == (True, 2)


@pytest.mark.parametrize("example", ["sleep", "C loop", "stubborn"])
def test_a_hang_is_ended(made, example):
    model = made(Behaving(), timeout=2)
    [pid] = model.predict(rows("pid"), None)
    with pytest.raises(ModelTimeoutError, match="predicting 1 examples took longer than timeout"):
        model.predict(rows(example), None)
    assert gone(pid)
    assert model.predict(rows(1), None) == [2]


def test_the_model_is_loaded_once_for_all_its_processes(made, tmp_path):
    model = made(Behaving(str(tmp_path)))
    for _ in range(3):
        with pytest.raises(ModelCrashedError):
            model.predict(rows("_exit"), None)
        model.predict(rows("pid"), None)
    assert len(set((tmp_path / "pids").read_text().split())) == 3
    assert len((tmp_path / "loads").read_text().split()) == 1


class Threaded(Behaving):
    """Cannot be forked once it has loaded."""

    def load_model(self):
        wait = threading.Event()
        threading.Thread(target=wait.wait, daemon=True).start()
        return super().load_model()


class Connected(Behaving):
    def load_model(self):
        import socket

        self.ends = socket.socketpair()
        return super().load_model()

    def __getstate__(self):
        return {"folder": self.folder}


@pytest.mark.parametrize("kind", [Threaded, Connected])
def test_a_model_that_cannot_be_forked_is_loaded_again(made, tmp_path, kind):
    model = made(kind(str(tmp_path)))
    for _ in range(2):
        with pytest.raises(ModelCrashedError):
            model.predict(rows("_exit"), None)
        assert model.predict(rows(2), None) == [4]
    assert len((tmp_path / "loads").read_text().split()) == 3


class Hanging(Behaving):
    def load_model(self):
        time.sleep(1000)


class Crashing(Behaving):
    def load_model(self):
        print("about to crash", file=sys.stderr)
        os._exit(7)


class Raising(Behaving):
    def load_model(self):
        raise LocalTrouble("no such model")


def test_a_load_that_hangs():
    with pytest.raises(ModelLoadError, match=r"Hanging cannot be loaded: .*timeout") as caught:
        ProcessModel(version(Hanging(), timeout=0.5))
    assert isinstance(caught.value.__cause__, ModelTimeoutError)


def test_a_load_that_crashes():
    with pytest.raises(ModelLoadError, match=r"(?s)exit status 7 .*about to crash") as caught:
        ProcessModel(version(Crashing()))
    assert isinstance(caught.value.__cause__, ModelCrashedError)


def test_a_load_that_raises():
    with pytest.raises(LocalTrouble, match="no such model"):
        ProcessModel(version(Raising()))


def test_a_warm_up_that_crashes_and_a_validation_that_refuses():
    with pytest.raises(ModelLoadError, match="exit status 3"):
        ProcessModel(version(Behaving(), warmup_examples=["_exit"]))

    here = os.getpid()

    def check(model):
        assert os.getpid() != here
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        ProcessModel(version(Behaving(), validate_fn=check))


def test_an_exception_arrives_as_itself(shared):
    with pytest.raises(LocalTrouble, match=r"^bad example$") as caught:
        shared.predict(rows("error"), None)
    assert type(caught.value) is LocalTrouble
    assert "in act" in str(caught.value.__cause__)
    assert shared.predict(rows(1), None) == [2]


@pytest.mark.parametrize(
    ("example", "message"),
    [("odd error", "OddError: 1 and 2"), ("error with a lock", "ValueError: holds a lock")],
)
def test_an_exception_that_cannot_be_brought_here(shared, example, message):
    with pytest.raises(InferenceError, match=message) as caught:
        shared.predict(rows(example), None)
    assert "in act" in str(caught.value.__cause__)


def test_a_failed_examples_error_that_cannot_be_brought_here(shared):
    doubled, failed = shared.predict(rows(1, "failed"), None)
    assert doubled == 2
    assert "OddError: a and b" in str(failed.error)


def test_examples_and_predictions_that_cannot_be_sent(shared):
    with pytest.raises(InferenceError, match="examples cannot be sent to the process of Behaving"):
        shared.predict(rows(threading.Lock()), None)
    with pytest.raises(InferenceError, match="predictions cannot be sent"):
        shared.predict(rows("lock"), None)
    assert shared.predict(rows(1), None) == [2]


class Hungry(Behaving):
    def run_inference(self, batch, model, inference_args=None):
        if len(batch) > 3:
            raise MemoryError(len(batch))
        return [example * 2 for example in batch]


def test_out_of_memory_halves_the_call(made):
    model = made(Hungry())
    solved = solve(RowBatch(list(range(16))), model, Limits(BatchConfig()), None, Observers())
    found = {p: v for positions, part in solved.parts for p, v in zip(positions, part, strict=True)}
    assert found == {number: 2 * number for number in range(16)}
    assert model.size_bound == 2


def test_many_threads(shared):
    found = {}

    def ask(number):
        found[number] = shared.predict(rows(*range(number)), None)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [2 * i for i in range(n)] for n in range(1, 17)}


def test_what_a_handler_prints_does_no_harm(capfd):
    model = ProcessModel(version(Behaving()))
    assert model.predict(rows("print", 1), None)[1] == 2
    model.close()
    printed = capfd.readouterr()
    assert (printed.out.count("x"), "to stdout\n" in printed.out) == (100_000, True)
    assert printed.err == "y" * 100_000


def test_large_batches(shared):
    array = np.arange(6_000_000.0)
    [doubled] = shared.predict(rows(array), None)
    assert np.array_equal(doubled, array * 2)
    doubled[0] = 1  # of one's own


def test_environment_variables_are_set_there_alone(made):
    model = made(Behaving(), env_vars={"RUNINFERENCE_TEST": "yes"})
    assert model.predict(rows("env"), None) == ["yes"]
    assert "RUNINFERENCE_TEST" not in os.environ


def test_too_many_losses_in_a_row(made, monkeypatch):
    monkeypatch.setattr(module, "_MOST_LOSSES", 2)
    model = made(Behaving())
    for _ in range(2):
        with pytest.raises(ModelCrashedError):
            model.predict(rows("_exit"), None)
    with pytest.raises(ModelUnavailableError, match=r"3 calls in a row, .* exit status 3"):
        model.predict(rows("_exit"), None)
    assert model.predict(rows(1), None) == [2]
    with pytest.raises(ModelCrashedError):
        model.predict(rows("_exit"), None)


def test_too_much_time_lost_in_a_row():
    times = iter([0.0, 500.0, 500.0, 1000.0])
    model = ProcessModel(version(Behaving()), clock=times.__next__)
    with pytest.raises(ModelCrashedError):
        model.predict(rows("_exit"), None)
    with pytest.raises(ModelUnavailableError, match="2 calls in a row, 1000 seconds in all"):
        model.predict(rows("_exit"), None)
    model.close()


def test_the_server_itself_is_started_again(made):
    model = made(Behaving())
    [pid] = model.predict(rows("pid"), None)
    server_of(model).kill()
    assert gone(pid)
    with pytest.raises(ModelCrashedError, match="the model's server was killed by SIGKILL"):
        model.predict(rows(1), None)
    assert model.predict(rows(1), None) == [2]


class Fragile(Threaded):
    def load_model(self):
        if (Path(self.folder) / "loads").exists():
            raise FileNotFoundError("the model is gone")
        return super().load_model()


def test_a_model_that_cannot_be_loaded_again(made, tmp_path):
    model = made(Fragile(str(tmp_path)))
    with pytest.raises(ModelCrashedError):
        model.predict(rows("_exit"), None)
    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="the model is gone") as caught:
            model.predict(rows(1), None)
        assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_close_releases_the_model_and_ends_every_process(tmp_path):
    model = ProcessModel(version(Behaving(str(tmp_path))))
    [pid] = model.predict(rows("pid"), None)
    server = server_of(model).pid
    model.close()
    assert (tmp_path / "closed").read_text() == f"{pid}\n"
    assert gone(pid)
    assert gone((tmp_path / "loads").read_text().strip())
    assert gone(server)


def test_what_a_handler_has_started_ends_with_it(made, tmp_path):
    model = made(Behaving(str(tmp_path)))
    with pytest.raises(ModelCrashedError):
        model.predict(rows("grandchild"), None)
    assert gone((tmp_path / "grandchild").read_text())


SCRIPT = """
import os, signal, sys, threading, time
from runinference import Execution, ModelHandler
from runinference.batch import RowBatch
from runinference.versions import ModelVersion
from runinference.process import ProcessModel

print("main runs")
factor = 3

class Handler(ModelHandler):
    def load_model(self):
        return lambda example: example * factor

    def run_inference(self, batch, model, inference_args=None):
        if batch[0] == "hang":
            print(os.getpid(), os.getppid(), flush=True)
            sum(iter(int, 1))
        return [Result(model(example)) for example in batch]

class Result:
    def __init__(self, value):
        self.value = value

model = ProcessModel(ModelVersion(Handler(), "f", execution=Execution(process=True)))
[result] = model.predict(RowBatch([2]), None)
print(type(result) is Result, result.value)
"""


def test_a_handler_of_the_main_program(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("main runs\nTrue 6\n", "")


def test_nothing_outlives_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + 'model.predict(RowBatch(["hang"]), None)\n')
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    lines = [parent.stdout.readline() for _ in range(3)]
    busy, server = lines[-1].split()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(busy)
    assert gone(server)


class Doubling(VectorModelHandler):
    """A vector handler with lengths, for rows and tables."""

    def load_model(self):
        return 2

    def length(self, example):
        return len(example)

    def prepare(self, examples, model):
        return [np.asarray(example, float) for example in examples]

    def collate(self, examples, model):
        wide = max(map(len, examples))
        return np.stack([np.pad(e, (0, wide - len(e))) for e in examples])

    def predict(self, batch, model, inference_args):
        return {"sum": batch.sum(axis=1) * model, "size": (batch > 0).sum(axis=1)}


class Columns(Doubling):
    length = None

    def collate_table(self, table, model):
        return np.column_stack([table[name].to_numpy() for name in table.column_names])

    def feature_names(self, model):
        return ["a", "b"]


def test_rows_with_lengths_are_prepared_there(made):
    handler = Doubling()
    there, here = made(handler), LocalModel(version(handler))
    batch = RowBatch([[1, 2, 3], [4.5], [1, 1]])
    mine, theirs = here.prepare(batch), there.prepare(batch)
    assert mine.lengths == theirs.lengths == [3, 1, 2]
    part, other = mine.take([2, 0]), theirs.take([2, 0])
    assert there.predict(other, None) == here.predict(part, None)


def test_tables(made):
    there, here = made(Columns()), LocalModel(version(Columns()))
    table = pa.table({"text": ["x", "y", "z"], "a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 2.0]})
    for part in (table, table.slice(1, 2)):
        batch = TableBatch(part)
        assert there.predict(batch, None).equals(here.predict(batch, None))
        assert there.num_bytes(batch) == here.num_bytes(batch)
    swapped = TableBatch(table, features=("b", "a"))
    assert there.predict(swapped, None).equals(here.predict(swapped, None))


@pytest.mark.parametrize("features", [("a", "absent"), ("a", "text")])
def test_tables_that_the_model_cannot_take(made, features):
    there, here = made(Columns()), LocalModel(version(Columns()))
    batch = TableBatch(pa.table({"text": ["x"], "a": [1.0], "b": [0.0]}), features=features)
    with pytest.raises(Exception, match=r".+") as expected:
        here.predict(batch, None)
    with pytest.raises(expected.type) as found:
        there.predict(batch, None)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("timeout", [0, -1, True, float("nan")])
def test_a_time_limit_is_a_time(timeout):
    with pytest.raises(ConfigurationError, match="timeout="):
        Execution(timeout=timeout)


def test_a_model_apart_is_not_the_one_here():
    here, apart = ModelVersion(Behaving(), "f"), version(Behaving())
    assert here != apart
    assert version(Behaving(), timeout=1) != apart
    assert version(Behaving(), threads=2) == apart
    assert isinstance(load_model(here), LocalModel)
    model = load_model(apart)
    assert isinstance(model, ProcessModel)
    model.close()


def test_the_loader_tells_of_a_model_apart():
    heard = []

    class Ear:
        @observer
        def model_loaded(self, event):
            heard.append(event)

    with Loader().lease(version(Behaving()), Observers([Ear()])) as model:
        assert model.predict(rows(1), None) == [2]
    [loaded] = heard
    assert (loaded.handler, loaded.model_id, loaded.sha256) == ("Behaving", "model@1", "ab" * 32)
