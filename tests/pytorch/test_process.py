"""The handlers in a process of their own."""

import nets
import pytest
import torch

from runinference import Execution
from runinference.batch import RowBatch
from runinference.errors import ModelCrashedError
from runinference.model import LocalModel
from runinference.process import ProcessModel
from runinference.process.packing import fold, pack, unfold, unpack
from runinference.versions import ModelVersion
from runinference_pytorch import PytorchModelHandlerKeyedTensor, PytorchModelHandlerTensor


def roundtrip(value):
    return unpack([bytearray(buffer) for buffer in pack(value)])


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_come_back(dtype):
    values = [torch.arange(4).to(dtype), torch.arange(1, 5).to(dtype)]
    for owned in (True, False):
        back = unfold(roundtrip(fold(values)), owned=owned)
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(values, back))
    assert all(v.untyped_storage().nbytes() == v.nbytes for v in unfold(fold(values), owned=True))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(()),
        torch.zeros(0, 3),
        torch.arange(12.0).reshape(3, 4).T,
        torch.zeros(100_000),
        torch.zeros(3, requires_grad=True),
        torch.eye(3).to_sparse(),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)}",
)
def test_tensors_of_every_kind(tensor):
    back = roundtrip(tensor)
    assert type(back) is type(tensor)
    assert (back.requires_grad, back.layout) == (tensor.requires_grad, tensor.layout)
    assert torch.equal(back.to_dense(), tensor.to_dense())


def test_the_same_predictions(saved):
    torch.manual_seed(0)
    path = saved(nets.Net(), "net.safetensors")
    handler = PytorchModelHandlerTensor(path, nets.Net)
    version = ModelVersion(handler, "f", execution=Execution(process=True, threads=1))
    batch = RowBatch([torch.randn(4) for _ in range(20)])
    there, here = ProcessModel(version), LocalModel(version)
    for _ in range(2):
        for found, expected in zip(there.predict(batch, None), here.predict(batch, None)):
            torch.testing.assert_close(found, expected)
            assert found.untyped_storage().nbytes() == found.nbytes
        with pytest.raises(ModelCrashedError):
            there.predict(batch, {"absent": Crash()})
    assert there.model_id == here.model_id
    there.close()


class Crash:
    def __reduce__(self):
        import os

        return os._exit, (9,)


def test_tensors_by_name(saved):
    path = saved(nets.Wide(), "wide.safetensors")
    handler = PytorchModelHandlerKeyedTensor(path, nets.Wide)
    version = ModelVersion(handler, "f", execution=Execution(process=True, threads=1))
    batch = RowBatch([{"word": torch.tensor(n), "numbers": torch.randn(3)} for n in range(5)])
    there = ProcessModel(version)
    for found, expected in zip(
        there.predict(batch, None), LocalModel(version).predict(batch, None)
    ):
        torch.testing.assert_close(found, expected)
    there.close()
