"""Read drawn lines of text with PP-OCR, an ONNX model of the package rapidocr.

    python read_lines.py

draws the Zen of Python in several sizes on grey paper, and prints what the model reads.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
from importlib import metadata

import apache_beam as beam
import numpy as np
import onnxruntime
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from PIL import Image, ImageDraw, ImageFont

from runinference import KeyedModelHandler, PredictionResult, RunInference
from runinference_onnx import OnnxModelHandlerNumpy

HEIGHT, WIDTH = 48, 640  # of a line, as the model wants it

with contextlib.redirect_stdout(io.StringIO()):  # it prints itself
    import this


def model_path() -> str:
    """Where the package keeps the model; the package itself is not imported."""
    [file] = [f for f in metadata.files("rapidocr") or [] if f.name == "PP-OCRv6_rec_small.onnx"]
    return str(file.locate())


def draw(number: int, text: str) -> Image.Image:
    """A line of dark letters on grey, uneven paper."""
    font = ImageFont.load_default(size=18 + 6 * (number % 4))
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right + left) + 10, int(bottom + top) + 4), 200)
    ImageDraw.Draw(image).text((5, 2), text, font=font, fill=60)
    grain = np.random.default_rng(number).normal(0, 12, (image.height, image.width))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def prepare(image: Image.Image) -> np.ndarray:
    """Pixels from -1 to 1, float32 ``[3, HEIGHT, WIDTH]``: scaled to the height, filled with 0."""
    width = min(WIDTH, round(image.width * HEIGHT / image.height))
    pixels = np.asarray(image.resize((width, HEIGHT)), np.float32) / 127.5 - 1
    return np.broadcast_to(np.pad(pixels, ((0, 0), (0, WIDTH - width))), (3, HEIGHT, WIDTH)).copy()


class Letters:
    """Turns probabilities of letters, a row for each few columns of the image, into text."""

    def __init__(self, path: str) -> None:
        properties = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        self.letters = ["", *properties["character"].split("\n"), " "]  # the first: none begins

    def __call__(self, result: PredictionResult) -> str:
        best = result.inference.argmax(axis=1)
        begins = best[np.insert(best[1:] != best[:-1], 0, True)]
        return "".join(self.letters[number] for number in begins)


def show(line: tuple[str, str]) -> float:
    """Print a line as it is read, and tell the share of its letters that are right."""
    written, read = line
    print(f"{'=' if written == read else '~'} {read}")
    return difflib.SequenceMatcher(None, written, read).ratio()


def main() -> None:
    """Draw, read, print."""
    lines = [line for line in codecs.decode(this.s, "rot13").splitlines() if line]
    images = [(line, draw(number, line)) for number, line in enumerate(lines)]
    path = model_path()
    handler = OnnxModelHandlerNumpy(path).with_preprocess_fn(prepare)
    handler = handler.with_postprocess_fn(Letters(path))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | beam.Create(images)
            | RunInference(KeyedModelHandler(handler))
            | beam.Map(show)
            | beam.combiners.Mean.Globally()
            | "Print" >> beam.Map(lambda mean: print(f"{mean:.1%} of the letters are right"))
        )


if __name__ == "__main__":
    main()
