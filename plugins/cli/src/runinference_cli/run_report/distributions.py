"""From the values of an output to what a report shows of them: counts of labels, or a histogram."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runinference_cli.run_report.sketches import Bar

__all__ = ["Distribution", "of_labels", "of_values"]

_LABELS = 24
_BARS = 40
_TEXT = 80


@dataclasses.dataclass(frozen=True)
class Distribution:
    """How the values of one output are distributed.

    Attributes:
        name: of the output; "" where the model has one.
        counts: of labels, the commonest first; empty where there is a histogram.
        bars: of a histogram of numbers.
        is_whole: whether they are of all rows, rather than of a sample.
        notes: what to know of it.
    """

    name: str
    counts: Sequence[tuple[str, int]]
    bars: Sequence[Bar]
    is_whole: bool
    notes: Sequence[str]


def of_labels(name: str, counts: Mapping[Any, int]) -> Distribution | None:
    """Of labels (numbers, or True and False) that were all counted."""
    if len(counts) <= _LABELS:
        return _labels(name, counts, True, [])
    numbers = np.repeat(list(counts), list(counts.values()))
    return _histogram(name, numbers.astype(np.float64), True, [])


def of_values(
    name: str, parts: Sequence[np.ndarray[Any, Any]], *, is_whole: bool, notes: Sequence[str]
) -> Distribution | None:
    """Of numbers, or of texts (object arrays).

    Args:
        name: of the output.
        parts: values, in any order.
        is_whole: whether they are those of all rows.
        notes: what to know of them besides.
    """
    if not parts:
        return None
    values = np.concatenate(parts)
    told = [*([] if is_whole else [f"a random sample of {len(values):,} rows"]), *notes]
    if any(part.dtype == object for part in parts):
        return _texts(name, [str(value) for value in values], is_whole, told)
    values = values.astype(np.float64)
    values = values[np.isfinite(values)]
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= _LABELS // 2 and (distinct == np.round(distinct)).all():
        pairs = zip(distinct.astype(int).tolist(), counts.tolist(), strict=True)
        return _labels(name, dict(pairs), is_whole, told)
    return _histogram(name, values, is_whole, told)


def _texts(
    name: str, texts: Sequence[str], is_whole: bool, notes: list[str]
) -> Distribution | None:
    if len(set(texts)) > max(_LABELS, len(texts) // 2):
        notes.append("lengths of the texts, in characters")
        lengths = np.array([len(text) for text in texts], np.float64)
        return _histogram(name, lengths, is_whole, notes)
    return _labels(name, Counter(text[:_TEXT] for text in texts), is_whole, notes)


def _labels(
    name: str, counts: Mapping[Any, int], is_whole: bool, notes: list[str]
) -> Distribution | None:
    if not counts:
        return None
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    shown, left = ordered[:_LABELS], ordered[_LABELS:]
    if left:
        rest = sum(count for _, count in left)
        notes.append(f"{len(left):,} more labels, of {rest:,} rows, are not shown")
    elif all(isinstance(label, int) for label, _ in shown):
        shown = sorted(shown)
    told = [(str(label), count) for label, count in shown]
    return Distribution(name, told, [], is_whole, notes)


def _histogram(
    name: str, values: np.ndarray[Any, np.dtype[np.float64]], is_whole: bool, notes: list[str]
) -> Distribution | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [0.005, 0.995])
    if values.max() - values.min() > 10 * (high - low) > 0:
        outside = int(((values < low) | (values > high)).sum())
        notes.append(f"all are from {values.min():.4g} to {values.max():.4g}")
        notes.append(f"the outermost {outside:,} are not drawn")
        values = values[(values >= low) & (values <= high)]
    counts, edges = np.histogram(values, bins=_BARS)
    bars = list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True))
    return Distribution(name, [], bars, is_whole, notes)
