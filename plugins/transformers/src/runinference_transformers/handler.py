"""Texts in; labels, entities or embeddings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa

from runinference.errors import ConfigurationError, ExampleError
from runinference.handler import VectorModelHandler
from runinference.outputs import Outputs
from runinference.results import ExampleFailed
from runinference.stacking import kind_of

if TYPE_CHECKING:
    from runinference_transformers.folders import TextPipeline

__all__ = ["TransformersPipelineHandler"]

Task = Literal["text-classification", "token-classification", "feature-extraction"]
Aggregation = Literal["none", "simple", "first", "average", "max"]

# What a table's column of entities is made of, also where no row has one.
_PLACE = [("word", pa.string()), ("start", pa.int64()), ("end", pa.int64())]
_TOKENS = pa.struct(
    [("entity", pa.string()), ("score", pa.float32()), ("index", pa.int64()), *_PLACE]
)
_GROUPS = pa.struct([("entity_group", pa.string()), ("score", pa.float32()), *_PLACE])


class TransformersPipelineHandler(VectorModelHandler[str, "TextPipeline"]):
    """Asks a Transformers model about texts.

    An example is a text; of a table, a column of texts that ``features`` names. The prediction is
    what ``transformers.pipeline`` answers: for "text-classification" a dict of ``label`` and
    ``score``, for "token-classification" a list of dicts, one per entity, and for
    "feature-extraction" an array ``[tokens, size]``, or ``[size]`` where it is pooled.

    Texts are tokenized before they are cut into calls, so that those of like length are padded
    together.
    """

    def __init__(
        self,
        model_uri: str,
        task: Task,
        *,
        device: str = "cpu",
        truncate: bool = False,
        pooling: Literal["mean"] | None = None,
        aggregation: Aggregation = "none",
    ) -> None:
        """Say which model to load, and what to ask it.

        Args:
            model_uri: path of a local folder with the model, as ``save_pretrained`` writes it.
            task: "text-classification", "token-classification" or "feature-extraction".
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: a GPU where there is one.
            truncate: cut texts of more tokens than the model takes; by default they are an error.
            pooling: for "feature-extraction", "mean" for the mean over a text's tokens.
            aggregation: for "token-classification", how tokens become entities:
                ``aggregation_strategy`` of ``transformers.pipeline``.

        Raises:
            ConfigurationError: options that cannot work, or cannot work together.
        """
        from runinference_pytorch.devices import parse_device

        for name, value, known in (
            ("task", task, get_args(Task)),
            ("pooling", pooling, (None, "mean")),
            ("aggregation", aggregation, get_args(Aggregation)),
        ):
            if value not in known:
                raise ConfigurationError(
                    f"{name}={value!r}: known are {', '.join(map(repr, known))}"
                )
        if pooling is not None and task != "feature-extraction":
            raise ConfigurationError(f"pooling is for task='feature-extraction', not {task!r}")
        if aggregation != "none" and task != "token-classification":
            raise ConfigurationError(
                f"aggregation is for task='token-classification', not {task!r}"
            )
        self.model_path = str(model_uri)
        self.task = task
        self.device = parse_device(device)
        self.truncate = truncate
        self.pooling = pooling
        self.aggregation = aggregation

    def load_model(self) -> TextPipeline:
        """The pipeline, on its device.

        Raises:
            ModelLoadError: the folder or the device cannot be used.
        """
        from runinference_transformers import folders

        assert self.model_path is not None
        model = folders.load(self.model_path, self.task, self.device)
        self.model_id = folders.model_id(self.model_path)
        return model

    def set_threads(self, model: TextPipeline, threads: int) -> None:
        """Of torch's operators on the CPU, in this process."""
        import torch

        torch.set_num_threads(threads)

    def prepare(self, examples: Sequence[str], model: TextPipeline) -> Sequence[Any]:
        """The tokens of each text, as the tokenizer names them, and the text itself.

        What is no text, or has more tokens than the model takes, is marked as failed.
        """
        texts = [example if isinstance(example, str) else "" for example in examples]
        tokenizer = model.pipeline.tokenizer
        with model.lock:
            encoded = tokenizer(
                texts,
                truncation=self.truncate and model.max_length is not None,
                max_length=model.max_length if self.truncate else None,
                return_special_tokens_mask=True,
                return_offsets_mapping=tokenizer.is_fast,
                verbose=False,
            )
        return [
            self._prepared(position, example, dict(zip(encoded, values, strict=True)), model)
            for position, (example, *values) in enumerate(
                zip(examples, *encoded.values(), strict=True)
            )
        ]

    def length(self, prepared: dict[str, Any]) -> int:
        """How many tokens a text has."""
        return len(prepared["input_ids"])

    def collate(self, examples: Sequence[dict[str, Any]], model: TextPipeline) -> Any:
        """The examples with the tensors that the model is called with, padded to the longest."""
        pipeline = model.pipeline
        names = [n for n in pipeline.tokenizer.model_input_names if n in examples[0]]
        with model.lock:
            tensors = pipeline.tokenizer.pad(
                {name: [example[name] for example in examples] for name in names},
                return_tensors="pt",
                verbose=False,
            )
        return examples, tensors.to(pipeline.device)

    def predict(
        self, batch: Any, model: TextPipeline, inference_args: dict[str, Any] | None
    ) -> Any:
        """What the task's pipeline makes of the model's answer."""
        import torch

        examples, tensors = batch
        with torch.inference_mode():
            outputs = model.pipeline.model(**tensors, return_dict=True)
            if self.task == "feature-extraction":
                hidden = outputs[0]
                if self.pooling is None:
                    return hidden
                mask = tensors["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                return (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        logits = outputs["logits"].cpu()
        if self.task == "text-classification":
            found = [model.pipeline.postprocess({"logits": row[None]}) for row in logits]
            scores = np.array([one["score"] for one in found])
            return {"label": [one["label"] for one in found], "score": scores}
        entities = [
            self._entities(example, row, model)
            for example, row in zip(examples, logits, strict=True)
        ]
        return pa.array(entities, pa.list_(_TOKENS if self.aggregation == "none" else _GROUPS))

    def output_lengths(
        self, outputs: Outputs, examples: Sequence[dict[str, Any]]
    ) -> Mapping[str, Sequence[int]] | None:
        """Embeddings of tokens are cut to each text's own."""
        if self.task != "feature-extraction" or self.pooling is not None:
            return None
        return {"": [self.length(example) for example in examples]}

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """Refuse arguments: everything is told when the handler is made.

        Raises:
            ConfigurationError: there are some.
        """
        if inference_args:
            raise ConfigurationError(
                f"transformers-pipeline takes no inference_args: {sorted(inference_args)}"
            )

    def _prepared(
        self, position: int, example: Any, tokens: dict[str, Any], model: TextPipeline
    ) -> dict[str, Any] | ExampleFailed:
        if not isinstance(example, str):
            message = (
                f"example {position} is {kind_of(example)}, not a text; of a table, name the one "
                "column of texts as its features"
            )
            return ExampleFailed(ExampleError(message))
        if model.max_length is not None and self.length(tokens) > model.max_length:
            message = (
                f"example {position} has {self.length(tokens)} tokens, and the model takes "
                f"{model.max_length}: shorten it, or say truncate=True"
            )
            return ExampleFailed(ExampleError(message))
        return tokens | {"text": example}

    def _entities(self, example: dict[str, Any], logits: Any, model: TextPipeline) -> Any:
        import torch
        from transformers.pipelines.token_classification import AggregationStrategy

        count = self.length(example)
        offsets = example.get("offset_mapping")
        whole = {
            "logits": logits[None, :count],
            "input_ids": [example["input_ids"]],
            "offset_mapping": None if offsets is None else [offsets],
            "special_tokens_mask": torch.tensor([example["special_tokens_mask"]]),
            "sentence": example["text"],
        }
        strategy = AggregationStrategy(self.aggregation)
        return model.pipeline.postprocess([whole], aggregation_strategy=strategy)
