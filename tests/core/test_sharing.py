"""Copies of a model that the processes of a machine share."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import apache_beam as beam
import cloudpickle
import numpy as np
import pytest

from runinference import Execution, ModelHandler, RunInference
from runinference.batch import RowBatch
from runinference.errors import ConfigurationError, ModelCrashedError, ModelLoadError
from runinference.loader import load_model, run_of
from runinference.process import ProcessModel
from runinference.threads import processors
from runinference.versions import ModelVersion

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Noting(ModelHandler):
    """Takes note of each load and each release."""

    def __init__(self, folder):
        self.folder = str(folder)

    def load_model(self):
        self.note("loads")
        return "model"

    def close_model(self, model):
        self.note("closed")

    def note(self, name):
        with open(Path(self.folder) / name, "a") as file:
            file.write(f"{os.getpid()}\n")

    def run_inference(self, batch, model, inference_args=None):
        if batch[0] == "crash":
            os._exit(3)
        if batch[0] == "meet":  # with as many others as there are copies
            self.note("met")
            while len((Path(self.folder) / "met").read_text().split()) < batch[1]:
                time.sleep(0.01)
        if batch[0] == "C loop":
            self.note("busy")
            sum(iter(int, 1))
        return [os.getpid() for _ in batch]


class Asking(Noting):
    def share_model_across_processes(self):
        return True

    def model_copies(self):
        return 2


def notes(folder, name):
    path = Path(folder) / name
    return path.read_text().split() if path.exists() else []


def wait_for(condition):
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the sockets are, for this test alone; pytest's own folders have too long a path."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)  # for processes
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder) / f"runinference-{os.getuid()}"
        assert wait_for(lambda: not list(Path(folder).glob("*/*.sock"))), "a server stays"


@pytest.fixture
def joined(place):
    models = []

    def join(handler, **execution):
        models.append(ProcessModel(ModelVersion(handler, "f", execution=Execution(**execution))))
        return models[-1]

    yield join
    for model in models:
        model.close()


def ask(model, *examples):
    return model.predict(RowBatch(list(examples or [1])), None)


def test_one_load_for_all_who_come(place, joined, tmp_path):
    models = [joined(Noting(tmp_path), copies=1) for _ in range(3)]
    assert len({ask(model)[0] for model in models}) == 1
    assert len(notes(tmp_path, "loads")) == 1
    assert [model.byte_size > 0 for model in models[1:]] == [False, False]
    folder = place.stat()
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid) == (0o700, os.getuid())
    [path] = place.glob("*.sock")
    models.pop().close()
    assert ask(models[0])
    for model in models:
        model.close()
    assert wait_for(lambda: not path.exists())  # so that nobody else comes, and only then
    assert wait_for(lambda: len(notes(tmp_path, "closed")) == 1)
    assert wait_for(lambda: sorted(p.name for p in place.iterdir()) == ["lock"])


def test_as_many_calls_at_a_time_as_there_are_copies(place, joined, tmp_path):
    models = [joined(Noting(tmp_path), copies=2), joined(Noting(tmp_path), copies=2)]
    found = []
    threads = [
        threading.Thread(target=lambda model=model: found.append(ask(model, "meet", 2)))
        for model in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({pid for pid, _ in found}) == 2
    assert len(notes(tmp_path, "loads")) == 1


def test_more_threads_than_copies(place, joined, tmp_path):
    model = joined(Noting(tmp_path), copies=2)
    found = []
    threads = [threading.Thread(target=lambda: found.append(ask(model)[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 20
    assert len(set(found)) <= 2


def test_a_crash_is_the_callers_alone(place, joined, tmp_path):
    one, other = joined(Noting(tmp_path), copies=1), joined(Noting(tmp_path), copies=1)
    for _ in range(2):
        with pytest.raises(ModelCrashedError, match="exit status 3"):
            ask(one, "crash")
        assert ask(other) == ask(one)
    assert len(notes(tmp_path, "loads")) == 1


def test_a_server_that_was_killed_is_replaced(place, joined, tmp_path):
    one, other = joined(Noting(tmp_path), copies=1), joined(Noting(tmp_path), copies=1)
    before = ask(one)
    os.kill(server_of(int(notes(tmp_path, "loads")[0])), signal.SIGKILL)
    assert wait_for(lambda: not alive(before[0]))
    assert ask(other) == ask(one) != before
    assert len(notes(tmp_path, "loads")) == 2


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def server_of(loader):
    return int(Path(f"/proc/{loader}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_load_that_fails_fails_for_everybody(place, joined, tmp_path):
    class Failing(Noting):
        def load_model(self):
            super().load_model()
            raise ValueError("no model")

    for _ in range(2):
        with pytest.raises(ValueError, match="no model"):
            joined(Failing(tmp_path), copies=1)


CLIENT = """
import sys
import cloudpickle
from runinference.batch import RowBatch
from runinference.process import ProcessModel

with open(sys.argv[1], "rb") as file:
    version = cloudpickle.load(file)
model = ProcessModel(version)
print("ready", flush=True)
for line in sys.stdin:
    print(model.predict(RowBatch([line.strip()]), None), flush=True)
"""


def start_client(tmp_path, handler, **execution):
    version = ModelVersion(handler, "f", execution=Execution(**execution))
    (tmp_path / "version").write_bytes(cloudpickle.dumps(version))
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, tmp_path / "version"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout.readline() == "ready\n"
    return client


def end_client(client, *, kill=False):
    if kill:
        client.kill()
    client.stdin.close()
    client.wait(20)
    client.stdout.close()


def test_the_server_outlives_who_started_it_and_a_killed_caller(place, joined, tmp_path):
    first = start_client(tmp_path, Noting(tmp_path), copies=1)
    model = joined(Noting(tmp_path), copies=1)
    before = ask(model)
    first.stdin.write("C loop\n")
    first.stdin.flush()
    assert wait_for(lambda: notes(tmp_path, "busy"))
    end_client(first, kill=True)
    assert ask(model) != before  # that one was busy for nobody
    assert len(notes(tmp_path, "loads")) == 1
    model.close()
    assert wait_for(lambda: not alive(int(notes(tmp_path, "loads")[0])))


def test_another_run_has_a_model_of_its_own(place, tmp_path):
    one, other = beam.Pipeline(), beam.Pipeline()
    assert run_of(one) == run_of(one) != run_of(other)
    handler, execution = Noting(tmp_path), Execution(copies=1)
    models = [
        ProcessModel(ModelVersion(handler, "f", execution=execution, run=run_of(pipeline)))
        for pipeline in (one, other)
    ]
    assert len(notes(tmp_path, "loads")) == 2
    for model in models:
        model.close()


def test_a_handler_that_asks_to_be_shared(place, tmp_path):
    model = load_model(ModelVersion(Asking(tmp_path), "f"))
    assert isinstance(model, ProcessModel)
    assert len(list(place.glob("*.sock"))) == 1
    assert ask(model) != [os.getpid()]
    model.close()


class Threads(Noting):
    def load_model(self):
        self.given = None

    def set_threads(self, model, threads):
        self.given = threads

    def run_inference(self, batch, model, inference_args=None):
        return [self.given for _ in batch]


@pytest.mark.parametrize(
    ("execution", "threads"),
    [
        (Execution(copies=1), None),
        (Execution(copies=2), max(processors() // 2, 1)),
        (Execution(copies=2, threads=7), 7),
    ],
)
def test_copies_share_the_processors(place, tmp_path, execution, threads):
    model = load_model(ModelVersion(Threads(tmp_path), "f", execution=execution))
    assert ask(model) == [threads]
    model.close()


def test_a_folder_that_others_can_write_is_refused(tmp_path, place):
    folder = place
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    with pytest.raises(ModelLoadError, match="only its user can read and write"):
        ProcessModel(ModelVersion(Noting(tmp_path), "f", execution=Execution(copies=1)))
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelLoadError, match="only its user can read and write"):
        ProcessModel(ModelVersion(Noting(tmp_path), "f", execution=Execution(copies=1)))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_not_let_in(place, joined, tmp_path):
    model = joined(Noting(tmp_path), copies=1)
    [path] = place.glob("*.sock")
    for folder in (place, place.parent):
        folder.chmod(0o755)
    path.chmod(0o777)
    code = (
        "import os, socket, sys; os.setuid(65534); "
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); "
        "s.settimeout(20); print(s.recv(100))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    place.chmod(0o700)
    assert (done.stdout, done.returncode) == ("b''\n", 0), done.stderr
    assert ask(model)


def test_two_workers_load_once(run, place, tmp_path):
    handler = Noting(tmp_path)
    inputs = list(range(40))
    options = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    os.environ["TMPDIR"] = str(place.parent)
    try:
        with run.pipeline(*options) as pipeline:
            import apache_beam as beam

            results = (
                pipeline
                | beam.Create(inputs)
                | beam.Reshuffle()
                | RunInference(handler, execution=Execution(copies=1))
            )
            (
                results
                | beam.Map(lambda r: (os.getpid(), r.inference))
                | beam.io.WriteToText(str(tmp_path / "out"))
            )
    finally:
        del os.environ["TMPDIR"]
    lines = [line for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    assert len(lines) == 40
    assert len(notes(tmp_path, "loads")) == 1
    assert len({line.split(",")[1] for line in lines}) == 1


class Heavy(Noting):
    """Holds 150 MB, and reads all of it."""

    def load_model(self):
        self.note("loads")
        return np.ones(150 << 17)

    def run_inference(self, batch, model, inference_args=None):
        total = float(model.sum())
        found = super().run_inference(batch, model)
        return [(pid, total) for pid in found]


def test_copies_share_memory(place, joined, tmp_path):
    def come():
        ask(joined(Heavy(tmp_path), copies=3), "meet", 3)

    threads = [threading.Thread(target=come) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(notes(tmp_path, "loads")) == 1
    predicting = {int(pid) for pid in notes(tmp_path, "met")}
    assert len(predicting) == 3
    held = sum(map(proportional_bytes, [int(notes(tmp_path, "loads")[0]), *predicting]))
    assert 150 << 20 <= held <= 270 << 20  # three processes with what they have imported


def proportional_bytes(pid):
    [line] = [
        line
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    ]
    return int(line.split()[1]) << 10


@pytest.mark.parametrize("copies", [0, -1, 1.5, "2"])
def test_copies_are_counted(copies):
    with pytest.raises(ConfigurationError, match="copies="):
        Execution(copies=copies)
