"""Beam's handler of the Gemini API, by name."""

from apache_beam.ml.inference import gemini_inference as beams

from runinference_beam.by_name import ByName

__all__ = ["GeminiModelHandler"]


class GeminiModelHandler(ByName, beams.GeminiModelHandler):
    """Beam's ``GeminiModelHandler``, which takes one prompt in a call."""

    def batch_elements_kwargs(self) -> dict[str, int]:
        """One: a call has one answer, and Beam's handler would pair it with its first example."""
        return {"max_batch_size": 1}
