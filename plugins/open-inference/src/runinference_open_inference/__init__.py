"""Handlers for model servers that speak the Open Inference Protocol, version 2."""

from runinference_open_inference.handlers import (
    OpenInferenceGrpcModelHandler,
    OpenInferenceHttpModelHandler,
)

__all__ = ["OpenInferenceGrpcModelHandler", "OpenInferenceHttpModelHandler"]
