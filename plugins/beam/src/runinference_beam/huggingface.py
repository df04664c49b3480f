"""Beam's handlers of Hugging Face models and pipelines, by name."""

from apache_beam.ml.inference import huggingface_inference as beams

from runinference_beam.by_name import ByName

__all__ = [
    "HuggingFaceModelHandlerKeyedTensor",
    "HuggingFaceModelHandlerTensor",
    "HuggingFacePipelineModelHandler",
]


class HuggingFaceModelHandlerKeyedTensor(ByName, beams.HuggingFaceModelHandlerKeyedTensor):
    """Beam's ``HuggingFaceModelHandlerKeyedTensor``."""


class HuggingFaceModelHandlerTensor(ByName, beams.HuggingFaceModelHandlerTensor):
    """Beam's ``HuggingFaceModelHandlerTensor``."""


class HuggingFacePipelineModelHandler(ByName, beams.HuggingFacePipelineModelHandler):
    """Beam's ``HuggingFacePipelineModelHandler``."""
