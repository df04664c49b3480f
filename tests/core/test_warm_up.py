"""A model that cannot predict the warm-up examples is a load that failed."""

import pytest

from runinference import Execution, ModelHandler, RunInference
from runinference.errors import ModelLoadError


class Double(ModelHandler):
    """Doubles numbers; of a text it says that it has no weights."""

    model_path = "weights.bin"

    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        if any(isinstance(example, str) for example in batch):
            raise AttributeError("no weights")
        return [2 * example for example in batch]


def test_warm_up_examples_that_are_predicted(run):
    transform = RunInference(Double(), execution=Execution(warmup_examples=[1, 2]))
    assert [result.inference for result in run.one(transform, [3])] == [6]


def test_warm_up_examples_that_cannot_be_predicted(run):
    transform = RunInference(Double(), execution=Execution(warmup_examples=[1, "a"]))
    message = r"Double: 'weights\.bin' cannot predict the warm-up .*AttributeError: no weights"
    with pytest.raises(ModelLoadError, match=message):
        run.one(transform, [3])
