"""Hugging Face Transformers handlers for runinference; transformers is imported at a load."""

from runinference_transformers.handler import TransformersPipelineHandler

__all__ = ["TransformersPipelineHandler"]
