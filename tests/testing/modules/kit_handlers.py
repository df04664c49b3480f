"""Handlers that keep every rule of the contract, and handlers that each break one."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import numpy as np

from runinference import ExampleFailed, VectorModelHandler
from runinference.columns import matrix
from runinference.errors import ExampleError, ModelLoadError
from runinference.files import read_model


class Linear(VectorModelHandler):
    """Weights times features.

    Args:
        model_uri: a JSON file of weights.
    """

    def __init__(self, model_uri: str) -> None:
        self.model_path = model_uri

    def load_model(self):
        file = read_model(self.model_path)
        self.model_id = file.model_id
        return np.array(json.loads(file.data))

    def collate(self, examples, model):
        return np.array(examples, dtype=float)

    def collate_table(self, table, model):
        return matrix(table)

    def examples_from(self, table, model):
        return matrix(table).tolist()

    def predict(self, batch, model, inference_args):
        return np.stack([batch @ model, batch.sum(axis=1)], axis=1) * (inference_args or {}).get(
            "scale", 1
        )


class Plain:
    """The whole obligation and nothing else: of no base class, and one example at a time."""

    def __init__(self, model_uri: str) -> None:
        """Name the weights.

        Args:
            model_uri: a JSON file of weights.
        """
        self.model_uri = model_uri

    def load_model(self):
        return np.array(json.loads(read_model(self.model_uri).data))

    def run_inference(self, batch, model, inference_args=None):
        for example in batch:
            if not isinstance(example, list):
                yield ExampleFailed(TypeError(f"{example!r} is no list"))
            else:
                yield {"sum": float(np.dot(example, model)), "text": f"{sum(example):g}"}


class Words(VectorModelHandler):
    """A prediction per word, so that batches are filled up.

    Args:
        model_uri: a JSON file; its first weight is that of a letter.
    """

    def __init__(self, model_uri: str) -> None:
        self.model_path = model_uri

    def load_model(self):
        return json.loads(read_model(self.model_path).data)[0]

    def prepare(self, examples, model):
        for text in examples:
            if not isinstance(text, str):
                raise ExampleError(f"{text!r} is no text")
        return [[len(word) for word in text.split()] for text in examples]

    def length(self, prepared):
        return len(prepared)

    def collate(self, examples, model):
        filled = np.zeros((len(examples), max(map(len, examples))))
        for row, lengths in zip(filled, examples, strict=True):
            row[: len(lengths)] = lengths
        return filled

    def predict(self, batch, model, inference_args):
        return {"letters": batch * model, "total": batch.sum(axis=1)}

    def output_lengths(self, outputs, examples):
        return {"letters": [len(example) for example in examples]}


# Each of these breaks one rule.


class LoadsOnce(Linear):
    def load_model(self):
        if self.__dict__.get("path_read"):
            raise RuntimeError("the path was taken")
        self.path_read = True
        return super().load_model()


class Random(Linear):
    def load_model(self):
        return super().load_model() * random.random()


class Sharing(Linear):
    def __init__(self, model_uri: str) -> None:
        super().__init__(model_uri)
        self.notes = []

    def load_model(self):
        self.notes.append("loaded")
        return super().load_model()


class ClosesAll(Linear):
    closed = False

    def load_model(self):
        return super().load_model() * (0 if ClosesAll.closed else 1)

    def close_model(self, model):
        ClosesAll.closed = True


class Secretive(Linear):
    def load_model(self):
        try:
            return super().load_model()
        except ModelLoadError:
            raise RuntimeError("no") from None


class Rigid(Linear):
    def __init__(self, model_uri: str) -> None:
        super().__init__(model_uri)
        self.own = model_uri

    def load_model(self):
        return np.array(json.loads(Path(self.own).read_text()))


class StaleId(Linear):
    def load_model(self):
        model = super().load_model()
        self.model_id = "the model"
        return model


class Lazy(Linear):
    def __init__(self, model_uri: str) -> None:
        super().__init__(model_uri)
        self.rest = (number for number in range(3))


class Forgetful(Linear):
    def __init__(self, model_uri: str) -> None:
        super().__init__(model_uri)
        self.offset = 1.0

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "offset"}

    def predict(self, batch, model, inference_args):
        return super().predict(batch, model, inference_args) + vars(self).get("offset", 0)


class Keeping(Linear):
    def load_model(self):
        self.model = super().load_model()
        return self.model


class KeepingAPart(Linear):
    def load_model(self):
        self.vocabulary = random.Random(0).randbytes(1_000_000)
        return super().load_model()


class OneShort(Plain):
    def run_inference(self, batch, model, inference_args=None):
        return list(super().run_inference(batch, model))[:2]


class Absent(Plain):
    def run_inference(self, batch, model, inference_args=None):
        predictions = list(super().run_inference(batch, model))
        return [None, *predictions[1:]]


class Sorting(Linear):
    def split(self, outputs, examples):
        return sorted(super().split(outputs, examples), key=lambda row: row[0])


class Reversing(Linear):
    def predict(self, batch, model, inference_args):
        return super().predict(batch, model, inference_args)[::-1]


class Normalising(Linear):
    def predict(self, batch, model, inference_args):
        return super().predict(batch / np.abs(batch).max(), model, inference_args)


class Remembering(Plain):
    def run_inference(self, batch, model, inference_args=None):
        predictions = list(super().run_inference(batch, model))
        model_key = model.tobytes()
        last = _last.setdefault(model_key, predictions)
        return predictions or last


_last = {}


class Swallowing(Plain):
    def run_inference(self, batch, model, inference_args=None):
        for example in batch:
            try:
                yield float(np.dot(example, model))
            except TypeError:
                yield float("nan")


class Hiding(Plain):
    def run_inference(self, batch, model, inference_args=None):
        try:
            return [float(np.dot(example, model)) for example in batch]
        except TypeError:
            return None


class Exiting(Plain):
    def run_inference(self, batch, model, inference_args=None):
        try:
            return [float(np.dot(example, model)) for example in batch]
        except TypeError:
            sys.exit(3)


class Spoiling(Plain):
    def run_inference(self, batch, model, inference_args=None):
        try:
            return [float(np.dot(example, model)) for example in batch]
        except TypeError:
            model[:] = 0
            raise


class TextLength(Words):
    def length(self, prepared):
        return str(len(prepared))


class PreparesTwice(Words):
    def run_inference(self, batch, model, inference_args=None):
        return self.run_prepared(self.prepare(batch, model * 2), model * 2, inference_args)


class NotForThreads(Linear):
    def collate(self, examples, model):
        self.batch = super().collate(examples, model)

    def collate_table(self, table, model):
        self.batch = super().collate_table(table, model)

    def predict(self, batch, model, inference_args):
        time.sleep(0.002)
        return super().predict(self.batch, model, inference_args)


class Emptying(Linear):
    def run_inference(self, batch, model, inference_args=None):
        examples = list(batch)
        if isinstance(batch, list):
            batch.clear()
        return super().run_inference(examples, model, inference_args)


class Writing(Linear):
    def prepare(self, examples, model):
        for example in examples:
            if isinstance(example, list):
                example[0] = float(example[0]) + 0.0
                example[-1] = abs(example[-1])
        return examples


class Views(Linear):
    def split(self, outputs, examples):
        return list(outputs)


class Reusing(Linear):
    def predict(self, batch, model, inference_args):
        outputs = super().predict(batch, model, inference_args)
        if getattr(self, "buffer", None) is None:
            self.buffer = np.empty((64, 2))
        self.buffer[: len(outputs)] = outputs
        return self.buffer[: len(outputs)]

    def split(self, outputs, examples):
        return [_Row(outputs, position) for position in range(len(examples))]

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "buffer"}


class _Row:
    """A row that is read when it is asked for."""

    def __init__(self, outputs, position):
        self.outputs, self.position = outputs, position

    def __array__(self, dtype=None, copy=None):
        return self.outputs[self.position].copy()

    def __deepcopy__(self, memo):
        return np.asarray(self)

    def __reduce__(self):
        return np.array, (np.asarray(self),)


class LateGenerator(Plain):
    def run_inference(self, batch, model, inference_args=None):
        self.current = batch
        return self.predictions(model)

    def predictions(self, model):
        yield from Plain.run_inference(self, self.current, model)


class NoBytes(Linear):
    def get_num_bytes(self, batch):
        return 0


class FractionalBytes(Linear):
    def get_num_bytes(self, batch):
        return 16.5 * len(batch)


class BatchBytes(Linear):
    def get_num_bytes(self, batch):
        return 100 + 16 * len(batch)


class PickledBytes(Linear):
    def get_num_bytes(self, batch):
        import pickle

        return sum(len(pickle.dumps(example)) for example in batch)


class OtherTables(Linear):
    def collate_table(self, table, model):
        return matrix(table)[:, ::-1]


class OfExamples(np.ndarray):
    pass


class OtherLeaves(Linear):
    def predict(self, batch, model, inference_args):
        outputs = super().predict(batch, model, inference_args)
        return {"a": outputs} if isinstance(batch, OfExamples) else outputs

    def collate(self, examples, model):
        return super().collate(examples, model).view(OfExamples)


class WritingTables(Linear):
    def collate_table(self, table, model):
        for column in table.columns:
            for chunk in column.chunks:
                address = chunk.buffers()[1].address + 8 * chunk.offset
                ctypes_array(address, len(chunk))[0] += 1
        return super().collate_table(table, model)


def ctypes_array(address, length):
    import ctypes

    return (ctypes.c_double * length).from_address(address)


class Swallower(Linear):
    def __init__(self, model_uri: str, **options: float) -> None:
        """Take anything.

        Args:
            model_uri: a JSON file of weights.
            options: whatever they may be.
        """
        super().__init__(model_uri)


class Positional(Linear):
    def __init__(self, model_uri: str, /) -> None:
        super().__init__(model_uri)


class Untyped(Linear):
    def __init__(self, model_uri) -> None:
        super().__init__(model_uri)


class Undocumented(Linear):
    def __init__(self, model_uri: str, scale: float = 1.0) -> None:
        super().__init__(model_uri)


class Greedy(Linear):
    """Takes a name that is taken.

    Args:
        model_uri: a JSON file of weights.
        keep: whatever it may be.
    """

    def __init__(self, model_uri: str, keep: bool = False) -> None:
        super().__init__(model_uri)


class Constant(Plain):
    def run_inference(self, batch, model, inference_args=None):
        return [0.0 * float(np.dot(example, model)) for example in batch]


class Hungry(Linear):
    def get_resource_hints(self):
        return {"min_ram": "much"}


class OfThisProcess(Linear):
    """Needs a global variable of the process that constructed it."""

    def __init__(self, model_uri: str) -> None:
        super().__init__(model_uri)
        _shifts["constructed"] = 1.0

    def predict(self, batch, model, inference_args):
        return super().predict(batch, model, inference_args) + _shifts.get("constructed", 0)


_shifts = {}
