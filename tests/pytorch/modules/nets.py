"""Small real models, one per kind of input and output."""

import dataclasses
from collections import OrderedDict, namedtuple

import torch
from torch import nn


class Net(nn.Module):
    """A multi-layer perceptron, ``[n, inputs] -> [n, classes]``."""

    def __init__(self, inputs=4, classes=3, hidden=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)
        )

    def forward(self, x, scale=1.0):
        return self.layers(x) * scale

    def classify(self, x):
        return self.layers(x).argmax(dim=1)


class Wide(nn.Module):
    """Two tensors of different kinds by name."""

    def __init__(self, words=20):
        super().__init__()
        self.words = nn.Embedding(words, 4)
        self.numbers = nn.Linear(3, 4)

    def forward(self, word, numbers, bias=None):
        made = (self.words(word) + self.numbers(numbers)).sum(dim=1)
        return made if bias is None else made + bias


class Recurrent(nn.Module):
    """An LSTM as PyTorch has it: ``(output, (h, c))``, the states with the batch second."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, num_layers=2, batch_first=True)

    def forward(self, x):
        return self.lstm(x)


class ModelOutput(OrderedDict):
    """An ordered dict with attributes, as Hugging Face's models answer."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclasses.dataclass
class Scores:
    """An output as a dataclass."""

    logits: torch.Tensor
    best: torch.Tensor


Pair = namedtuple("Pair", "logits best")


class Answers(nn.Module):
    """One input, and its scores in the structure that was asked for."""

    def __init__(self, kind="tensor"):
        super().__init__()
        self.kind = kind
        self.first = nn.Linear(4, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        hidden = self.first(x)
        logits = self.last(hidden)
        best = logits.argmax(dim=1)
        if self.kind == "model output":
            return ModelOutput(logits=logits, hidden_states=(x, hidden), loss=None)
        if self.kind == "dataclass":
            return Scores(logits, best)
        if self.kind == "named tuple":
            return Pair(logits, best)
        if self.kind == "dict":
            return {"logits": logits, "best": best}
        if self.kind == "with codebook":
            return {"logits": logits, "codebook": self.last.weight[:1]}
        if self.kind == "scalar":
            return logits.sum()
        if self.kind == "none":
            return None
        if self.kind == "one short":
            return logits[1:]
        return logits


class Detector(nn.Module):
    """A list with a dict per example, of as many boxes as it finds."""

    def forward(self, x):
        found = x.cumsum(dim=1)
        return [{"boxes": row[: 1 + i], "pair": Pair(row, [row[0]])} for i, row in enumerate(found)]


class Tagger(nn.Module):
    """Token ids to one score per position (``tags``) and as many classes per text as asked for.

    Attention over the real positions alone, so that a text's answer does not depend on its padding.
    """

    def __init__(self, words=30, classes=3, tags=2, padding=0):
        super().__init__()
        self.padding = padding
        self.embed = nn.Embedding(words, 6)
        self.query = nn.Linear(6, 6)
        self.tag = nn.Linear(6, tags)
        self.classify = nn.Linear(6, classes)

    def forward(self, input_ids, attention_mask=None):
        if attention_mask is None:
            attention_mask = (input_ids != self.padding).long()
        embedded = self.embed(input_ids)
        weights = self.query(embedded) @ embedded.transpose(1, 2)
        weights = weights.masked_fill(attention_mask[:, None, :] == 0, -torch.inf).softmax(dim=-1)
        attended = weights @ embedded
        real = attention_mask[..., None]
        mean = (attended * real).sum(dim=1) / real.sum(dim=1)
        return ModelOutput(tags=self.tag(attended), classes=self.classify(mean))


class Translator(nn.Module):
    """Two sequences of different lengths; one output follows the one, one the other."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 4)

    def forward(self, source, target):
        return {"source": self.embed(source), "target": self.embed(target) * 2}


class InPlace(nn.Module):
    """Scales its input where it lies, as careless models do."""

    def __init__(self, from_call=1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.calls = 0
        self.from_call = from_call

    def forward(self, x):
        self.calls += 1
        if self.calls >= self.from_call:
            x.mul_(2)
        return (x * self.weight).sum(dim=1)


class Sized(nn.Module):
    """Weights of its own shape and dtype, to see how they are converted."""

    def __init__(self, dtype="float32", width=3):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=getattr(torch, dtype)))

    def forward(self, x):
        return x * self.weight


class Tied(nn.Module):
    """An output layer that shares its weights with the embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.embed(x))


class Normed(nn.Module):
    """Has a buffer, and behaves differently in training."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(x)


def make_net(inputs):
    """A function that makes a model."""
    return Net(inputs)


def make_nothing():
    """A function that makes no model."""
    return {}


class Broken(nn.Module):
    """Cannot be made."""

    def __init__(self):
        raise OSError("no vocabulary")
