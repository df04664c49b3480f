"""What the tests of all distributions share: the embedded runner, and where results are kept."""

import contextlib
import uuid

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

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
