"""Run a handler with Beam's own RunInference and with ours; each run's outcome is of one shape."""

import collections
import uuid

import apache_beam as beam
from apache_beam.ml.inference import base
from apache_beam.ml.inference.utils import _convert_to_result
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from runinference import RunInference

Outcome = collections.namedtuple("Outcome", "error results failures metrics")


class ForBeam(base.ModelHandler):
    """A handler as Beam wants it: its predictions become results with the helper that Beam's own
    handlers use."""

    def __init__(self, handler):
        super().__init__()
        self._handler = handler

    def load_model(self):
        return self._handler.load_model()

    def batch_elements_kwargs(self):
        return self._handler.batch_elements_kwargs()

    def run_inference(self, batch, model, inference_args=None):
        return _convert_to_result(batch, self._handler.run_inference(batch, model))


def run_beams(handler, examples, **handling):
    """Beam's, with dead letters; ``failures`` are lists of the examples that failed together.

    Args:
        handler: of ours or of Beam's.
        examples: the inputs.
        handling: of ``with_exception_handling``.
    """
    if not isinstance(handler, base.ModelHandler):
        handler = ForBeam(handler)
    transform = base.RunInference(handler).with_exception_handling(**handling)
    outcome = _run(transform, examples)
    return outcome._replace(failures=[(batch, error) for batch, error in outcome.failures])


def run_ours(handler, examples, execution=None, **handling):
    """Ours, with dead letters; ``failures`` are :class:`runinference.Failure`."""
    transform = RunInference(handler, execution=execution).with_exception_handling(**handling)
    return _run(transform, examples)


def _run(transform, examples):
    kept = {name: uuid.uuid4().hex for name in ("results", "failures")}
    _elements.update({unique: [] for unique in kept.values()})
    pipeline = beam.Pipeline(runner=FnApiRunner())
    results, dead = pipeline | beam.Create(examples, reshuffle=False) | transform
    _ = results | "KeepResults" >> beam.Map(_keep, kept["results"])
    _ = dead.failed_inferences | "KeepFailures" >> beam.Map(_keep, kept["failures"])
    error, metrics = None, {}
    try:
        result = pipeline.run()
    except (Exception, SystemExit) as raised:  # noqa: BLE001  # whatever a handler may raise
        error = raised
    else:
        counters = result.metrics().query()["counters"]
        metrics = {counter.key.metric.name: counter.committed for counter in counters}
    pairs = [(each.example, each.inference) for each in _elements.pop(kept["results"])]
    return Outcome(error, pairs, _elements.pop(kept["failures"]), metrics)


_elements = {}


def _keep(element, name):
    _elements[name].append(element)
