"""Models change while a pipeline runs: loaded and validated first, and for all threads at once."""

import logging
import os
import threading
import time
import uuid
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from runinference import (
    BatchConfig,
    Execution,
    KeyedModelHandler,
    KeyModelMapping,
    KeyModelPathMapping,
    ModelHandler,
    ModelMetadata,
    RunInference,
)
from runinference.batch import RowBatch
from runinference.errors import ConfigurationError
from runinference.hooks import Observers, observer
from runinference.memory import resident_bytes
from runinference.model_files import Refusals, Update, newest
from runinference.updates import Current, Polling
from runinference.versions import ModelVersion


class FromFile(ModelHandler):
    """Predicts the number that its file holds."""

    def __init__(self, model_path):
        self.model_path = model_path

    def load_model(self):
        self.model_id = self.model_path
        return int(Path(self.model_path).read_text())

    def run_inference(self, batch, model, inference_args=None):
        return [model for _ in batch]


def put(path, content, seconds):
    """Write a file that was changed at a moment."""
    path.write_text(str(content))
    os.utime(path, (seconds, seconds))
    return str(path)


@pytest.fixture
def files(tmp_path):
    return [put(tmp_path / f"{n}.txt", n, 1000 + n) for n in range(4)]


class Told:
    """What observers are told."""

    def __init__(self):
        self.refused = []
        self.loaded = []
        self.alive = self.most = 0

    @observer
    def model_refused(self, event):
        self.refused.append((event.path, str(event.error)))

    @observer
    def model_loaded(self, event):
        self.loaded.append(event.model_id)
        self.alive += 1
        self.most = max(self.most, self.alive)

    @observer
    def model_closed(self, event):
        self.alive -= 1


@pytest.fixture
def attached():
    """A step's current model, and what its observers were told."""
    opened = []

    name = uuid.uuid4().hex  # a step of each test

    def attach(version, polling=None, step=name, clock=time.monotonic):
        told = Told()
        observers = Observers([told])
        current = Current.attach(step, version, polling, observers)
        current._refusals = Refusals(clock)
        opened.append((current, step, observers))
        return current, observers, told

    yield attach
    for current, step, observers in opened:
        current.detach(step, observers)


def asked(current, observers):
    with current.lease(observers) as model:
        return model.predict(RowBatch([None]), None)[0], model.model_id


def version_of(path, **execution):
    return ModelVersion(FromFile(path), f"from {path}", execution=Execution(**execution))


def test_a_swap_is_for_every_copy_and_closes_the_old_model(attached, files):
    current, observers, told = attached(version_of(files[0]))
    copy, others, _ = attached(version_of(files[0]))
    assert copy is current
    assert asked(current, observers) == (0, files[0])
    current.swap(Update(files[1], "1"), observers)
    assert asked(copy, others) == (1, files[1])
    assert told.loaded == [files[0], files[1]]
    assert told.alive == 1
    current.swap(Update(files[1], "1"), observers)
    assert len(told.loaded) == 2
    # the same path with another content is another model
    put(Path(files[1]), 7, 2000)
    current.swap(Update(files[1], "2"), observers)
    assert asked(current, observers) == (7, files[1])


def is_small(model):
    if model > 2:
        raise ValueError(f"{model} is too large")


@pytest.mark.parametrize(
    ("number", "message"), [(3, "3 is too large"), (9, "No such file or directory")]
)
def test_a_model_that_cannot_be_used_leaves_the_old_one(attached, files, caplog, number, message):
    now = [0.0]
    version = version_of(files[0], validate_fn=is_small)
    current, observers, told = attached(version, clock=lambda: now[0])
    bad = files[0].replace("0.txt", f"{number}.txt")
    for now[0] in (*range(10), 11, 12, 25, 40):  # it is not tried again while it is the same
        current.swap(Update(bad, None), observers)
    assert asked(current, observers) == (0, files[0])
    [(path, error)] = told.refused
    assert path == bad
    assert message in error
    assert "the old one stays" in caplog.text
    put(Path(bad), 1, 3000)  # its file changes
    now[0] = 60.0
    current.swap(Update(bad, None), observers)
    assert asked(current, observers) == (1, bad)


def test_the_new_model_is_warmed_up_and_validated_before_it_predicts(attached, files):
    order = []

    class Slow(FromFile):
        def load_model(self):
            order.append("load")
            return super().load_model()

        def run_inference(self, batch, model, inference_args=None):
            order.append("warm up" if batch == ["warm"] else "predict")
            return super().run_inference(batch, model)

    execution = Execution(warmup_examples=["warm"], validate_fn=lambda model: order.append("check"))
    current, observers, _ = attached(ModelVersion(Slow(files[0]), "slow", execution=execution))
    order.clear()
    current.swap(Update(files[1], "1"), observers)
    asked(current, observers)
    assert order == ["load", "warm up", "check", "predict"]


def test_a_batch_keeps_its_model_to_its_end_and_eight_threads_swap_once(attached, files):
    current, observers, told = attached(version_of(files[0]))
    barrier, seen = threading.Barrier(8), []

    def work():
        barrier.wait(30)
        current.swap(Update(files[1], "1"), observers)
        barrier.wait(30)
        seen.append(asked(current, observers))

    threads = [threading.Thread(target=work) for _ in range(8)]
    with current.lease(observers) as before:  # a batch that has begun
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert seen == [(1, files[1])] * 8
        assert before.predict(RowBatch([None]), None) == [0]
        assert before.model_id == files[0]
        assert told.alive == 2
    assert told.loaded == files[:2]
    assert told.alive == 1


class Large(ModelHandler):
    """200 MB."""

    most = 0

    def __init__(self, model_path):
        self.model_path = model_path

    def load_model(self):
        model = np.ones(25_000_000)
        Large.most = max(Large.most, resident_bytes())  # now the old one is there too
        return model

    def run_inference(self, batch, model, inference_args=None):
        return [float(model[0]) for _ in batch]


def test_never_more_than_two_large_models_are_held(attached):
    before, Large.most = resident_bytes(), 0
    current, observers, told = attached(ModelVersion(Large("0"), "large"), step="large")
    ended, batches = threading.Event(), [0]

    def predict():
        while not ended.is_set():
            with current.lease(observers) as model:
                for _ in range(10):
                    assert model.predict(RowBatch([None]), None) == [1.0]
            batches[0] += 1

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 6):
        so_far = batches[0]
        current.swap(Update(str(number), None), observers)
        until(lambda so_far=so_far: batches[0] > so_far)
    ended.set()
    for thread in threads:
        thread.join(60)
    assert told.loaded == ["0", "1", "2", "3", "4", "5"]
    assert told.most == 2
    assert told.alive == 1
    assert 300e6 < Large.most - before < 450e6
    assert resident_bytes() - before < 250e6


def test_the_newest_file_wins_whatever_their_names(tmp_path, files):
    pattern = str(tmp_path / "*.txt")
    assert newest(pattern).path == files[3]
    put(Path(files[1]), 1, 5000)
    (tmp_path / "empty.txt").touch()  # is only just being written
    assert newest(pattern).path == files[1]
    assert newest(str(tmp_path / "*.none")) is None


def until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within five seconds")


def test_polling_takes_up_files_as_they_change(attached, files, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    polling = Polling(str(tmp_path / "*.txt"), 0.01)
    current, observers, told = attached(version_of(files[3]), polling)
    time.sleep(0.1)
    assert told.loaded == [files[3]]  # it is the newest, and was loaded already
    put(Path(files[0]), "1e", 5000)  # half written
    until(lambda: told.refused)
    time.sleep(0.1)
    assert len(told.refused) == 1
    assert asked(current, observers) == (3, files[3])
    put(Path(files[0]), "100", 5000)  # of another size
    until(lambda: asked(current, observers) == (100, files[0]))


def test_a_folder_that_cannot_be_listed_is_told_once(attached, files, monkeypatch, caplog):
    from runinference import updates

    polling = Polling("no-such-scheme://models/*", 0.01)
    with pytest.raises(ValueError, match="no-such-scheme"):
        attached(version_of(files[0]), polling, step="other")
    monkeypatch.setattr(updates, "newest", lambda pattern: None)
    attached(version_of(files[0]), polling)

    def fails(pattern):
        raise OSError("not now")

    monkeypatch.setattr(updates, "newest", fails)
    until(lambda: "not now" in caplog.text)
    time.sleep(0.1)
    assert caplog.text.count("not now") == 1


def slowly(example, swap_at, path):
    if example == swap_at:
        put(Path(path), 77, 9000)
    time.sleep(0.02)
    return example


def test_a_pipeline_polls_and_loses_nothing(run, files, tmp_path):
    step = RunInference(
        FromFile(files[3]),
        watch_model_pattern=str(tmp_path / "*.txt"),
        refresh_interval_s=0.02,
        batching=BatchConfig(max_size=1),
    )
    numbers = beam.Create(range(60), reshuffle=False)
    with run.pipeline() as pipeline:
        run.keep(pipeline | numbers | beam.Map(slowly, 10, str(tmp_path / "new.txt")) | step)
    results = sorted(run.elements())
    assert [result.example for result in results] == list(range(60))
    answers = [result.inference for result in results]
    assert answers[:9] == [3] * 9
    assert answers[-10:] == [77] * 10
    assert answers == sorted(answers)  # one change, and no way back
    assert {r.model_id for r in results if r.inference == 77} == {str(tmp_path / "new.txt")}


def windowed(pipeline, label, elements):
    created = pipeline | f"{label} elements" >> beam.Create(elements, reshuffle=False)
    return created | f"{label} windows" >> beam.WindowInto(FixedWindows(10))


def test_a_side_input_tells_the_model_of_each_window(run, files):
    told = [ModelMetadata(files[1], "one"), ModelMetadata(files[2], "two")]
    with run.pipeline() as pipeline:
        side = windowed(pipeline, "side", [TimestampedValue(t, 10 * n) for n, t in enumerate(told)])
        main = windowed(pipeline, "main", [TimestampedValue(n, n) for n in range(30)])
        run.keep(main | RunInference(FromFile(files[0]), model_metadata_pcoll=side))
    results = sorted(run.elements())
    # the third window's side input is empty, and says nothing
    assert [result.inference for result in results[:20]] == [1] * 10 + [2] * 10
    assert run.counter("num_inferences") == 30


def test_examples_of_windows_with_different_models_do_not_wait_for_each_other(run, files):
    told = [TimestampedValue(ModelMetadata(files[1 + n % 2]), 10 * n) for n in range(4)]
    with run.pipeline() as pipeline:
        side = windowed(pipeline, "side", told)
        main = windowed(pipeline, "main", [TimestampedValue(n, n) for n in range(40)])
        whole = BatchConfig(min_size=40, max_size=40)
        run.keep(main | RunInference(FromFile(files[0]), model_metadata_pcoll=side, batching=whole))
    found = {result.example: result.inference for result in run.elements()}
    assert [found[n] for n in range(40)] == [1] * 10 + [2] * 10 + [1] * 10 + [2] * 10


def test_a_side_input_with_a_bad_model_changes_nothing(run, files, tmp_path):
    with run.pipeline() as pipeline:
        side = pipeline | "side" >> beam.Create([ModelMetadata(str(tmp_path / "none"))])
        main = pipeline | beam.Create([1, 2], reshuffle=False)
        run.keep(main | RunInference(FromFile(files[0]), model_metadata_pcoll=side))
    assert [result.inference for result in run.elements()] == [0, 0]
    assert run.counter("refused_models_counter") == 1


def test_a_side_input_tells_the_models_of_keys(run, files, tmp_path):
    mappings = [
        KeyModelMapping(["a", "b"], FromFile(files[0])),
        KeyModelMapping(["c"], FromFile(files[1])),
        KeyModelMapping(["d"], FromFile(files[1])),
    ]
    told = [
        KeyModelPathMapping(["a", "b"], files[3]),
        KeyModelPathMapping(["d"], str(tmp_path / "none")),
    ]
    with run.pipeline() as pipeline:
        side = pipeline | "side" >> beam.Create([told])
        main = pipeline | beam.Create([(key, None) for key in "abcd"], reshuffle=False)
        run.keep(main | RunInference(KeyedModelHandler(mappings), model_metadata_pcoll=side))
    answers = {key: (result.inference, result.model_id) for key, result in run.elements()}
    assert answers == {
        "a": (3, files[3]),
        "b": (3, files[3]),
        "c": (1, files[1]),
        "d": (1, files[1]),
    }
    assert run.counter("refused_models_counter") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_metadata_pcoll": []}, "a PCollection of ModelMetadata is needed"),
        ({"refresh": "push"}, '"poll" or "side_input"'),
        ({"refresh_interval_s": 0}, "seconds above 0"),
    ],
)
def test_mistakes_are_told(options, message):
    with pytest.raises(ConfigurationError, match=message):
        RunInference(FromFile("x"), **options)


def test_a_pattern_names_one_model(run, files):
    handler = KeyedModelHandler([KeyModelMapping(["a"], FromFile(files[0]))])
    with pytest.raises(ConfigurationError, match="lists of KeyModelPathMapping"):
        run.one(RunInference(handler, watch_model_pattern="*.txt"), [("a", 1)])
