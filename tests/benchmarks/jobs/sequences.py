"""Token sequences of very different lengths through a small transformer: padding is what costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from benchmarks.job import Job, Predictor

__all__ = ["JOBS", "Sequences"]

_SHORTEST, _LONGEST = 8, 512
_MAX_TOKENS = 8192


class Sequences(Job):
    """8 to 512 tokens, most of them short, as a column of lists; one score per sequence.

    The loop reads all, sorts by length, and cuts at a budget of padded tokens. Beam's handler pads
    batches of 64 as they come.
    """

    handler: ClassVar[str] = "torch-tensor"
    features: ClassVar[Sequence[str]] = ("tokens",)
    reads_all: ClassVar[bool] = True

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Log-normal lengths."""
        lengths = np.clip(rng.lognormal(np.log(40), 0.9, rows), _SHORTEST, _LONGEST).astype(int)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        tokens = rng.integers(1, 8192, offsets[-1])
        lists = pa.ListArray.from_arrays(offsets, tokens)
        return pa.table({"id": np.arange(first, first + rows), "tokens": lists})

    def write_model(self, folder: Path) -> None:
        """A state dict."""
        from benchmarks import models

        models.save(models.SmallTransformer, folder / "model.pt")

    def predictor(self, folder: Path) -> Predictor:
        """Sorted by length, in calls of at most so many tokens, padding included."""
        import torch

        from benchmarks import models

        model = models.load(models.SmallTransformer, folder / "model.pt", self.threads)

        @torch.inference_mode()
        def predict(table: pa.Table) -> pa.Array:
            lists = table.column("tokens").combine_chunks()
            rows = _rows(lists)
            lengths = np.diff(lists.offsets.to_numpy())
            scores = np.empty(len(rows), np.float32)
            for positions in _cut(np.argsort(lengths, kind="stable"), lengths):
                scores[positions] = model(*_padded([rows[i] for i in positions])).numpy()
            return pa.array(scores)

        return predict

    def options(self, folder: Path) -> dict[str, Any]:
        """Padding with a mask."""
        return {
            "state_dict_path": str(folder / "model.pt"),
            "model_class": "benchmarks.models:SmallTransformer",
            "padding": {"mask": "mask"},
        }

    def examples(self, table: pa.Table) -> Sequence[Any]:
        """Tensors of different lengths, each in memory of its own."""
        return [row.clone() for row in _rows(table.column("tokens").combine_chunks())]

    def beam_handler(self, folder: Path) -> Any:
        """With a padding function, as its documentation has it."""
        from apache_beam.ml.inference.base import PredictionResult
        from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerTensor

        from benchmarks import models

        def pad_and_predict(
            batch: Sequence[Any], model: Any, device: Any, args: Any, model_id: str | None = None
        ) -> Iterator[Any]:
            import torch

            with torch.inference_mode():
                scores = model(*_padded(batch))
            return map(PredictionResult, batch, scores)

        return PytorchModelHandlerTensor(
            str(folder / "model.pt"),
            models.SmallTransformer,
            {},
            inference_fn=pad_and_predict,
            max_batch_size=64,
        )


def _rows(lists: pa.ListArray) -> list[Any]:
    import torch.utils.dlpack

    tokens = torch.utils.dlpack.from_dlpack(lists.flatten())
    return list(torch.split(tokens, np.diff(lists.offsets.to_numpy()).tolist()))


def _cut(order: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> Iterator[Any]:
    start = 0
    for end in range(len(order)):
        if end > start and lengths[order[end]] * (end - start + 1) > _MAX_TOKENS:
            yield order[start:end]
            start = end
    yield order[start:]


def _padded(rows: Sequence[Any]) -> tuple[Any, Any]:
    import torch

    tokens = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]


JOBS = (
    Sequences(
        name="sequences",
        title="sequences of 8 to 512 tokens, 4 k",
        rows=4_000,
        quick_rows=200,
        systems=("loop", "tables", "rows", "beam"),
    ),
)
