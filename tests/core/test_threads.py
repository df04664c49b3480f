"""The threads of a model's library, told or shared out among workers."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

from runinference import Execution, ModelHandler, RunInference
from runinference import threads as module
from runinference.errors import ConfigurationError
from runinference.threads import processors, share_of_threads

told = []


class Threaded(ModelHandler):
    def load_model(self):
        return f"model made for {self.threads}"

    def set_threads(self, model, threads):
        told.append((model, threads))

    def run_inference(self, batch, model, inference_args=None):
        return list(batch)


def test_threads_are_told_before_the_load_and_after_it(run):
    told.clear()
    handler = Threaded()
    run.one(RunInference(handler, execution=Execution(threads=3)), [1])
    run.one(RunInference(handler), [1])
    assert told == [("model made for 3", 3)]
    assert handler.threads is None


def pipeline(*options):
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(options)))


def test_workers_share_the_processors(monkeypatch):
    assert share_of_threads(pipeline()) is None
    monkeypatch.setattr(module, "processors", lambda: 8)
    assert share_of_threads(pipeline("--direct_num_workers=2")) == 4
    assert share_of_threads(pipeline("--direct_num_workers=99")) == 1
    assert share_of_threads(pipeline("--direct_num_workers=0")) == 1
    assert share_of_threads(beam.Pipeline(runner=PipelineRunner())) == 1
    assert processors() >= 1


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_a_number_is_needed(threads):
    with pytest.raises(ConfigurationError, match="threads="):
        Execution(threads=threads)
