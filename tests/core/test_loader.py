"""One model per process: one load, one owner, closed after its last use."""

import gc
import sys
import threading
import weakref

import pytest

from runinference import Execution, ModelHandler
from runinference.hooks import Observers, observer
from runinference.loader import Loader, fingerprint
from runinference.memory import resident_bytes
from runinference.versions import ModelVersion


class Counting(ModelHandler):
    """Hands out the objects that `make` makes, and tells when they come and go."""

    def __init__(self, name="a", make=dict, log=None):
        self.name = name
        self.make = make
        self.log = [] if log is None else log

    def load_model(self):
        self.log.append(("load", self.name, self.model_path))
        return self.make()

    def close_model(self, model):
        self.log.append(("close", self.name, self.model_path))

    def run_inference(self, batch, model, inference_args=None):
        return list(batch)


def version(name="a", make=dict, log=None, path=None):
    return ModelVersion(Counting(name, make, log), name, path)


def test_eight_threads_make_one_load():
    log = []
    started = threading.Barrier(8)
    inside = threading.Barrier(8)
    loader, found = Loader(), []

    def ask():
        started.wait()
        with loader.lease(version(log=log), Observers()) as model:
            found.append(model)
            inside.wait()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert log == [("load", "a", None), ("close", "a", None)]


@pytest.mark.parametrize("make", [dict, tuple, list, object, str, lambda: None])
def test_models_of_any_type(make):
    loader = Loader()
    with loader.lease(version(make=make), Observers()) as model:
        assert model.predict.__self__ is model


def test_a_held_model_stays_between_leases():
    log, loader, observers = [], Loader(), Observers()
    held = version(log=log)
    loader.hold(held)
    for _ in range(3):
        with loader.lease(held, observers):
            pass
    assert log == [("load", "a", None)]
    loader.release(held, observers)
    assert log == [("load", "a", None), ("close", "a", None)]


def test_release_within_a_lease_closes_afterwards():
    log, loader, observers = [], Loader(), Observers()
    held = version(log=log)
    loader.hold(held)
    with loader.lease(held, observers):
        loader.release(held, observers)
        assert log == [("load", "a", None)]
    assert log[-1] == ("close", "a", None)


class Weights:
    pass


def test_a_closed_model_is_freed():
    loader, observers = Loader(), Observers()
    with loader.lease(version(make=Weights), observers) as model:
        watched = weakref.ref(model._model)
    del model
    gc.collect()
    assert watched() is None


class Cycle:
    def __init__(self):
        self.itself = self


def test_the_collector_leaves_a_loaded_model_alone_and_finds_a_closed_one():
    loader, observers = Loader(), Observers()
    before = gc.get_freeze_count()
    with loader.lease(version(make=Cycle), observers) as model:
        assert gc.get_freeze_count() > before + 1000
        watched = weakref.ref(model._model)
    assert gc.get_freeze_count() <= before
    del model
    gc.collect()
    assert watched() is None


def test_what_the_program_froze_stays_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with Loader().lease(version(), Observers()):
            pass
        assert gc.get_freeze_count() >= frozen - 100
    finally:
        gc.unfreeze()


def test_the_bound_evicts_the_least_recently_used():
    log, loader, observers = [], Loader(), Observers()
    loader.bound(2)
    versions = {name: version(name, log=log) for name in "abc"}
    for held in versions.values():
        loader.hold(held)
    for name in "abac":
        with loader.lease(versions[name], observers):
            pass
    assert log == [("load", n, None) for n in "ab"] + [("close", "b", None), ("load", "c", None)]


def test_a_leased_model_is_not_evicted():
    log, loader, observers = [], Loader(), Observers()
    loader.bound(1)
    first, second = version("a", log=log), version("b", log=log)
    loaded = threading.Event()

    def ask():
        with loader.lease(second, observers):
            loaded.set()

    with loader.lease(first, observers):
        thread = threading.Thread(target=ask)
        thread.start()
        assert not loaded.wait(0.2)
        assert log == [("load", "a", None)]
    thread.join(5)
    assert loaded.is_set()
    assert log == [(what, n, None) for n in "ab" for what in ("load", "close")]


def test_a_failed_load_raises_the_same_error_for_everybody_and_is_tried_again():
    attempts, errors, loader = [], [], Loader()
    started = threading.Barrier(4)
    all_wait = threading.Event()

    def fail():
        all_wait.wait(5)
        attempts.append(1)
        raise OSError("no file")

    def ask():
        started.wait()
        try:
            with loader.lease(version(make=fail), Observers()):
                pass
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while sum(entry.leases for entry in loader._entries.values()) < 4:
        pass
    all_wait.set()
    for thread in threads:
        thread.join()
    assert len(attempts) == 1
    assert len(errors) == 4
    assert len(set(map(id, errors))) == 1
    with pytest.raises(OSError, match="no file"), loader.lease(version(make=fail), Observers()):
        pass
    assert len(attempts) == 2


def test_another_path_is_another_model_of_the_same_handler():
    log, loader = [], Loader()
    handler = Counting(log=log)
    for path in (None, "v2"):
        with loader.lease(ModelVersion(handler, "f", path), Observers()) as model:
            assert model.model_id == path
    assert handler.model_path is None
    assert [entry for entry in log if entry[0] == "load"] == [
        ("load", "a", None),
        ("load", "a", "v2"),
    ]


def test_observers_hear_of_loads_and_closes():
    heard = []

    class Ear:
        @observer
        def model_loaded(self, event):
            heard.append(event)

        @observer
        def model_closed(self, event):
            heard.append(event)

    clock = iter([10.0, 12.5]).__next__
    with Loader(clock=clock).lease(version(path="p"), Observers([Ear()])):
        pass
    loaded, closed = heard
    assert (loaded.handler, loaded.model_id, loaded.seconds) == ("Counting", "p", 2.5)
    assert loaded.byte_size >= 0
    assert (closed.handler, closed.model_id) == ("Counting", "p")


def test_fingerprints():
    assert fingerprint(Counting("a")) == fingerprint(Counting("a"))
    assert fingerprint(Counting("a")) != fingerprint(Counting("b"))
    assert fingerprint(Counting("a")) == fingerprint(
        Counting("a").with_preprocess_fn(str).with_postprocess_fn(str).with_no_batching()
    )


def make_local(number):
    class Local(Counting):
        def load_model(self):
            return number

    return Local()


def test_local_classes_of_one_name_differ():
    assert fingerprint(make_local(1)) != fingerprint(make_local(2))
    local = make_local(1)
    assert fingerprint(local) == fingerprint(local)


def test_a_class_without_init_and_state():
    class Bare(ModelHandler):
        pass

    assert len(fingerprint(Bare())) == 64


def test_versions_are_told_apart_by_what_they_load():
    assert version("a") == version("a", make=list)  # only the fingerprint counts
    assert version("a") != version("a", path="p")
    assert ModelVersion(Counting(), "f", execution=Execution(env_vars={"A": "1"})) == ModelVersion(
        Counting(), "f"
    )
    assert len({version("a"), version("a"), version("b")}) == 2


def test_memory_of_this_process_is_known():
    before = resident_bytes()
    block = bytearray(50_000_000)
    assert resident_bytes() - before > 40_000_000
    assert sys.getsizeof(block) > 40_000_000
