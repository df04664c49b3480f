"""The PyTorch models of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Mlp", "SmallTransformer", "ThreeTensors", "load", "save"]


class Mlp(nn.Module):
    """float32 ``[rows, 64]`` to float32 ``[rows]``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layers(values).squeeze(1)


class ThreeTensors(nn.Module):
    """float32 ``[rows, 32]``, int64 ``[rows]`` and int64 ``[rows, 8]`` to float32 ``[rows]``."""

    def __init__(self) -> None:
        super().__init__()
        self.category = nn.Embedding(1000, 32)
        self.words = nn.EmbeddingBag(5000, 32, mode="mean")
        self.layers = nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(
        self, dense: torch.Tensor, category: torch.Tensor, words: torch.Tensor
    ) -> torch.Tensor:
        parts = [dense, self.category(category), self.words(words)]
        return self.layers(torch.cat(parts, 1)).squeeze(1)


class SmallTransformer(nn.Module):
    """Two layers over int64 ``[rows, tokens]``; the mean of the real positions is scored."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(8192, width)
        self.places = nn.Embedding(512, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.score = nn.Linear(width, 1)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        is_real = mask.bool()
        for layer in self.layers:
            hidden = layer(hidden, is_real[:, None, None, :])
        real = is_real.unsqueeze(2)
        mean = (hidden * real).sum(1) / real.sum(1)
        return self.score(mean).squeeze(1)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
        rows, length, width = hidden.shape
        cut = self.project(self.before(hidden)).view(rows, length, 3, self.heads, -1)
        query, key, value = cut.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_real)
        hidden = hidden + self.join(mixed.transpose(1, 2).reshape(rows, length, width))
        return hidden + self.narrow(F.gelu(self.wide(self.between(hidden))))


def save(make: Callable[[], nn.Module], path: Path) -> None:
    """A state dict with the same random weights each time."""
    torch.manual_seed(0)
    torch.save(make().state_dict(), path)


def load(make: Callable[[], nn.Module], path: Path, threads: int | None) -> Any:
    """The model, to be called within ``torch.inference_mode()``."""
    if threads is not None:
        torch.set_num_threads(threads)
    model = make()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()
