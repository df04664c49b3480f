"""Compare examples and predictions of any kind, and tell whose memory they hold on to."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["borrowed", "difference", "leaves"]


def difference(found: Any, expected: Any, rtol: float = 0.0, atol: float = 0.0) -> str:
    """Where two values differ first, in words; "" where they do not.

    Args:
        found: a value of any structure: arrays, tensors, frames, dicts, tuples, dataclasses.
        expected: what it should be.
        rtol: how far numbers may be apart, relative to the expected one.
        atol: how far they may be apart besides.
    """
    ours, theirs = dict(leaves(found)), dict(leaves(expected))
    if ours.keys() != theirs.keys():
        return f"other parts: {_shown(found, expected)}"
    for path, leaf in ours.items():
        if not _is_close(leaf, theirs[path], rtol, atol):
            return f"{path}{': ' if path else ''}{_shown(leaf, theirs[path])}"
    return ""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a structure holds, each with its path: arrays, numbers, texts, objects."""
    children: list[tuple[str, Any]] | None = None
    if isinstance(value, Mapping):
        children = [(f"{path}[{key!r}]", value[key]) for key in value]
    elif isinstance(value, list | tuple):
        children = [(f"{path}[{number}]", child) for number, child in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        children = [(f"{path}.{field.name}", getattr(value, field.name)) for field in fields]
    elif hasattr(value, "iloc") and hasattr(value, "columns"):  # a frame; pandas is not imported
        children = [(f"{path}[{name!r}]", value[name].array) for name in value.columns]
    if not children:
        yield path, value
        return
    for child_path, child in children:
        yield from leaves(child, child_path)


def borrowed(value: Any, allowed: int = 0) -> str:
    """The leaf that keeps more memory alive than its own, in words; "" where none does.

    Args:
        value: leaves, or a structure of them.
        allowed: bytes that a leaf may keep, whosever they are.
    """
    for path, leaf in leaves(value):
        own, kept = _memory(leaf)
        if kept > max(own, allowed):
            return f"{path or type(leaf).__name__} is a view: {own:,} bytes of {kept:,}"
    return ""


def _memory(leaf: Any) -> tuple[int, int]:
    """Bytes of a leaf's own values, and of the memory that it keeps alive."""
    if hasattr(leaf, "untyped_storage"):  # a torch tensor; torch is not imported
        return leaf.numel() * leaf.element_size(), leaf.untyped_storage().nbytes()
    if isinstance(leaf, pa.Array | pa.ChunkedArray | pa.Table):
        # slices of a few bytes are padded
        return leaf.nbytes + 1024, leaf.get_total_buffer_size()
    array = leaf
    if not isinstance(array, np.ndarray):
        if not hasattr(leaf, "__array__") or np.ndim(leaf) == 0:
            return 0, 0
        array = np.asarray(leaf)
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return array.nbytes, base.nbytes


def _is_close(found: Any, expected: Any, rtol: float, atol: float) -> bool:
    if found is expected:
        return True
    one, other = _array(found), _array(expected)
    if one is None or other is None:
        if (one is None) != (other is None):
            return False
        return _is_equal(found, expected)
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "biufc" and other.dtype.kind in "biufc":
        return bool(np.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True))
    if one.dtype == object or other.dtype == object:
        pairs = zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
        return all(_is_equal(a, b) for a, b in pairs)
    return bool(np.all((one == other) | ((one != one) & (other != other))))


def _array(leaf: Any) -> np.ndarray[Any, Any] | None:
    if hasattr(leaf, "toarray"):  # scipy sparse
        return np.asarray(leaf.toarray())
    if hasattr(leaf, "detach"):  # a torch tensor, perhaps on a device and of a type of its own
        leaf = leaf.detach().cpu()
        leaf = leaf.float() if "bfloat16" in str(leaf.dtype) else leaf
    if isinstance(leaf, int | float | complex | str | bytes):
        return np.asarray(leaf)
    if isinstance(leaf, pa.Array | pa.ChunkedArray):
        return np.asarray(leaf.to_numpy(zero_copy_only=False))
    return np.asarray(leaf) if hasattr(leaf, "__array__") else None


def _is_equal(one: Any, other: Any) -> bool:
    try:
        equal = one == other
    except Exception:  # noqa: BLE001  # classes may compare in whatever way
        equal = NotImplemented
    if isinstance(equal, bool) and equal:
        return True
    try:
        return pickle.dumps(one) == pickle.dumps(other)
    except Exception:  # noqa: BLE001  # nor need they pickle
        return False


def _shown(found: Any, expected: Any) -> str:
    return f"{_short(found)} instead of {_short(expected)}"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def are_alike(values: Sequence[Any]) -> bool:
    """Whether all values are equal, so that their order cannot be told."""
    return all(not difference(value, values[0]) for value in values[1:])
