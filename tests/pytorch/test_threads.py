"""The threads of torch's operators."""

import nets
import pytest
import torch

from runinference import Execution, RunInference
from runinference_pytorch import PytorchModelHandlerTensor


@pytest.fixture(autouse=True)
def _restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_in_a_pipeline(run, saved):
    handler = PytorchModelHandlerTensor(saved(nets.Net()), nets.Net)
    torch.set_num_threads(2)
    run.one(RunInference(handler), [torch.ones(4)])
    assert torch.get_num_threads() == 2
    run.one(RunInference(handler, execution=Execution(threads=1)), [torch.ones(4)])
    assert torch.get_num_threads() == 1
