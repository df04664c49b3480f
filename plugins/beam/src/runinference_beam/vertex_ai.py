"""Beam's handler of Vertex AI endpoints, by name."""

from apache_beam.ml.inference import vertex_ai_inference as beams

from runinference_beam.by_name import ByName

__all__ = ["VertexAIModelHandlerJSON"]


class VertexAIModelHandlerJSON(ByName, beams.VertexAIModelHandlerJSON):
    """Beam's ``VertexAIModelHandlerJSON``."""
