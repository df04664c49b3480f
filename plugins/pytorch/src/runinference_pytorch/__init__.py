"""PyTorch handlers for runinference; torch is imported when a model is loaded or asked."""

from runinference_pytorch.handlers import PytorchModelHandlerKeyedTensor, PytorchModelHandlerTensor
from runinference_pytorch.padding import Padding

__all__ = [
    "Padding",
    "PytorchModelHandlerKeyedTensor",
    "PytorchModelHandlerTensor",
]
