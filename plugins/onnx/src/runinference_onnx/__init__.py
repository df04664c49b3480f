"""ONNX Runtime handlers for runinference; onnxruntime is imported when a model is loaded."""

from runinference_onnx.handler import OnnxModelHandlerNumpy

__all__ = ["OnnxModelHandlerNumpy"]
