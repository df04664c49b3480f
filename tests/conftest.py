"""What the tests of all distributions share: the embedded runner, and where results are kept."""

import contextlib
import os
import sys
import uuid
from pathlib import Path

# Before libraries of linear algebra are loaded, here and in processes that tests start: on cores
# that are busy their threads wait for each other, and a small model takes a hundred times as long.
os.environ["OMP_NUM_THREADS"] = "1"

import apache_beam as beam
import hypothesis
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

sys.path.append(str(Path(__file__).parent))  # for `conformance`, which tests import too

from conformance import IN_AN_INTERPRETER  # found through the line above

# How long an example takes tells how busy the machine is.
unhurried = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=unhurried)
hypothesis.settings.load_profile("tests")

_collected = {}


def _collect(element, name, timestamp=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam):
    _collected[name].append((element, timestamp, window))


class Run:
    """Pipelines on the embedded runner, in this process, whose outputs are kept."""

    def __init__(self):
        self._names = {}
        self.result = None

    @contextlib.contextmanager
    def pipeline(self, *options):
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(options)))
        yield pipeline
        self.result = pipeline.run()
        self.result.wait_until_finish()

    def keep(self, collection, name="results"):
        """Keep a PCollection's elements; `elements`, `timestamps` and `windows` give them back."""
        self._names[name] = unique = uuid.uuid4().hex
        _collected[unique] = []
        collection | f"Keep {name}" >> beam.Map(_collect, unique)

    def elements(self, name="results"):
        return [element for element, _, _ in _collected[self._names[name]]]

    def timestamps(self, name="results"):
        return [timestamp.micros / 1e6 for _, timestamp, _ in _collected[self._names[name]]]

    def windows(self, name="results"):
        return [window for _, _, window in _collected[self._names[name]]]

    def one(self, transform, inputs, *options):
        """The outputs of one transform."""
        with self.pipeline(*options) as pipeline:
            self.keep(pipeline | beam.Create(inputs, reshuffle=False) | transform)
        return self.elements()

    def counter(self, name):
        found = self.result.metrics().query(beam.metrics.MetricsFilter().with_name(name))
        return sum(counter.committed for counter in found["counters"])

    def distribution(self, name):
        found = self.result.metrics().query(beam.metrics.MetricsFilter().with_name(name))
        return [distribution.committed for distribution in found["distributions"]]


@pytest.fixture
def run():
    return Run()


# How several processes share the tests out: files at a time, the longest first, so that none is
# left with one at the end; and by one process those that share what is expensive to start.
LONGEST = (
    "tests/system",
    "tests/open_inference",
    "tests/cli/test_killed.py",
)
TOGETHER = {
    "tests/open_inference/": "with a server",
    "tests/system/test_new_distribution.py": "with wheels",
    "tests/system/test_wheels.py": "with wheels",
}


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            for start, name in TOGETHER.items():
                if nodeid.startswith(start):
                    return name
            return super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # the order of `pytest_collection_modifyitems` stands
    return Scheduling(config, log)


def pytest_make_parametrize_id(val, argname):
    # two processes may have different bytes, of an archive that tells when it was made
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)  # before those with marks are left out
def pytest_collection_modifyitems(items):
    interpreted = set()
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid} is named by an address, and so differently in each process that "
                "shares the tests: give the parameter an id"
            )
        # as in `conformance`, for handlers that have a test for each check
        check = getattr(item, "callspec", None) and item.callspec.params.get("check")
        if check is not None and check.name in IN_AN_INTERPRETER:
            kind = (item.path, type(item.callspec.params["handler"]), check.name)
            if kind in interpreted:
                item.add_marker(pytest.mark.slow)
            interpreted.add(kind)
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
