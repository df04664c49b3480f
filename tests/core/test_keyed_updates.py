"""Models of keys change for all threads of a process at once, and never within a batch."""

import os
import threading
import uuid
from pathlib import Path

import apache_beam as beam
import pytest

from runinference import (
    BatchConfig,
    Execution,
    KeyedModelHandler,
    KeyModelMapping,
    KeyModelPathMapping,
    ModelHandler,
    RunInference,
)
from runinference.batch import RowBatch
from runinference.hooks import Observers, observer
from runinference.keyed import ModelsByKey
from runinference.keyed_models import KeyedModels, VersionOf
from runinference.keyed_router import KeyedRouter
from runinference.loader import keyed_loader


class FromFile(ModelHandler):
    """Predicts the number that its file holds, times a factor."""

    def __init__(self, model_path, factor=1):
        self.model_path = model_path
        self.factor = factor

    def load_model(self):
        self.model_id = self.model_path
        return int(Path(self.model_path).read_text()) * self.factor

    def run_inference(self, batch, model, inference_args=None):
        return [model for _ in batch]


class Told:
    """What observers are told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.loaded, self.closed, self.refused = [], [], []

    @observer
    def model_loaded(self, event):
        with self.lock:
            self.loaded.append(event.model_id)

    @observer
    def model_closed(self, event):
        with self.lock:
            self.closed.append(event.model_id)

    @observer
    def model_refused(self, event):
        with self.lock:
            self.refused.append((event.path, str(event.error)))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.txt" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    return [str(path) for path in paths]


class Step:
    """Copies of a step with the keys a and b on one model and c on another, each in a thread."""

    def __init__(self, files):
        self.told = Told()
        self.observers = Observers([self.told])
        self.now = [0.0]
        self._files = files
        self._opened = []
        self._step = uuid.uuid4().hex

    def copy(self, models_for=None):
        """One as it is unpickled."""
        ab, c = FromFile(self._files[0]), FromFile(self._files[1], factor=10)
        mappings = (KeyModelMapping(["a", "b"], ab), KeyModelMapping(["c"], c))
        models = KeyedModels(
            ModelsByKey(mappings, models_for, None, None),
            VersionOf(BatchConfig(), Execution()),
            clock=lambda: self.now[0],
        )
        router = KeyedRouter(models, self._step, may_change=True)
        router.open(self.observers)
        self._opened.append(router)
        return router

    def answers(self, router, keys):
        """Each key's prediction, of one batch."""
        found = {}
        for version, positions in router.split(keys, len(keys)):
            with router.lease(version, self.observers) as model:
                for position in positions:
                    found[keys[position]] = model.predict(RowBatch([None]), None)[0]
        return found

    def close(self):
        for router in self._opened:
            router.close(self.observers)


@pytest.fixture
def step(files):
    step = Step(files)
    yield step
    step.close()
    assert sorted(step.told.loaded) == sorted(step.told.closed)
    assert not keyed_loader._entries
    assert not keyed_loader._holders


def test_eight_threads_change_at_once(step, files):
    barrier, seen = threading.Barrier(8), []
    update = [KeyModelPathMapping(["a", "b"], files[2]), KeyModelPathMapping(["c"], files[3])]

    def work():
        router = step.copy()
        before = step.answers(router, ["a", "b", "c"])
        barrier.wait(30)
        router.update(update, step.observers)
        barrier.wait(30)
        seen.append((before, step.answers(router, ["a", "b", "c"])))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [({"a": 0, "b": 0, "c": 10}, {"a": 2, "b": 2, "c": 30})] * 8
    # one load of each for eight threads, and the old ones are gone
    assert sorted(step.told.loaded) == files
    assert sorted(step.told.closed) == files[:2]


def test_one_copy_is_told_and_all_change(step, files):
    one, other = step.copy(), step.copy()
    assert step.answers(other, ["a", "c"]) == {"a": 0, "c": 10}
    one.update([KeyModelPathMapping(["b"], files[3])], step.observers)
    assert step.answers(other, ["a", "b"]) == {"a": 0, "b": 3}
    one.update([KeyModelPathMapping(["a"], files[2])], step.observers)
    assert step.answers(other, ["a", "b"]) == {"a": 2, "b": 3}
    assert step.told.closed == files[:1]  # no key has it any more


def test_a_batch_keeps_its_models_to_its_end(step, files):
    one, other = step.copy(), step.copy()
    assert step.answers(one, ["c"]) == {"c": 10}
    groups = one.split(["c"], 1)  # a batch has begun
    version, _ = next(groups)
    other.update([KeyModelPathMapping(["c"], files[3])], step.observers)
    os.remove(files[1])  # nothing could load it again
    assert step.answers(other, ["c"]) == {"c": 30}
    with one.lease(version, step.observers) as model:
        assert model.predict(RowBatch([None]), None) == [10]
    assert step.told.closed == []
    assert list(groups) == []
    assert step.told.closed == [files[1]]


def test_a_change_while_a_batch_is_grouped_is_for_all_of_it_or_for_none(step, files):
    def models_for(key):  # asked for a key that is new, in the middle of the batch
        other.update([KeyModelPathMapping(["a", "b"], files[2])], step.observers)
        return FromFile(files[3])

    one, other = step.copy(models_for), step.copy(models_for)
    groups = list(one.split(["a", "new", "b"], 3))
    assert sorted(list(positions) for _, positions in groups) == [[0, 2], [1]]
    assert step.answers(one, ["a", "new", "b"]) == {"a": 2, "new": 3, "b": 2}


def test_a_model_that_is_refused_is_tried_again_when_its_file_changes(step, files):
    router = step.copy()
    bad = Path(files[2])
    bad.write_text("none")
    update = [KeyModelPathMapping(["a", "b"], str(bad)), KeyModelPathMapping(["c"], files[3])]
    for step.now[0] in (0, 1, 9, 11, 25, 40):
        router.update(update, step.observers)
        assert step.answers(router, ["a", "c"]) == {"a": 0, "c": 30}
    [(path, error)] = step.told.refused
    assert path == str(bad)
    assert "none" in error
    bad.write_text("2000")
    step.now[0] += 11
    router.update(update, step.observers)
    assert step.answers(router, ["a", "b", "c"]) == {"a": 2000, "b": 2000, "c": 30}


def test_one_mapping_is_for_one_model(step, files):
    router = step.copy()
    router.update([KeyModelPathMapping(["a", "c"], files[2])], step.observers)
    router.update([KeyModelPathMapping(["nobody"], files[2])], step.observers)
    assert step.answers(router, ["a", "c"]) == {"a": 0, "c": 10}
    [(_, first), (_, second)] = step.told.refused
    assert "keys 'a', 'c' have different models: tell a KeyModelPathMapping of each" in first
    assert "no model for key 'nobody'" in second


def test_threads_of_a_pipeline_are_told(run, files):
    mappings = [KeyModelMapping([number], FromFile(files[0])) for number in range(3)]
    told = [KeyModelPathMapping([number], files[number + 1]) for number in range(3)]
    options = ("--direct_running_mode=multi_threading", "--direct_num_workers=4")
    inputs = [(number % 3, number) for number in range(600)]
    with run.pipeline(*options) as pipeline:
        side = pipeline | "side" >> beam.Create([told])
        transform = RunInference(
            KeyedModelHandler(mappings),
            model_metadata_pcoll=side,
            batching=BatchConfig(max_size=10),
        )
        run.keep(pipeline | beam.Create(inputs) | beam.Reshuffle() | transform)
    results = run.elements()
    assert len(results) == 600
    # a thread goes on with the old models while another one loads the new
    assert {result.inference for key, result in results} <= {0, 1, 2, 3}
    assert all(result.inference in (0, key + 1) for key, result in results)
    assert run.counter("num_inferences") == 600
