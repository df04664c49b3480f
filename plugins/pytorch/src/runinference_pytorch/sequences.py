"""Find out which outputs of a padded batch hold one entry per position, and are to be trimmed.

An output as wide as the padded batch may be a sequence, or have that many classes by chance. What
tells them apart is an example that is shorter, predicted alone: a sequence is as long as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runinference.errors import OutputStructureError
from runinference_pytorch.padding import Padding

__all__ = ["SequenceFinder", "cannot_tell"]

Lengths = Mapping[str, Sequence[int]]


class SequenceFinder:
    """What is known about a loaded model's outputs: which follow the lengths of which tensor."""

    def __init__(self) -> None:
        self._follows: dict[tuple[str, str], bool] = {}

    def lengths(
        self,
        leaves: Mapping[str, Any],
        lengths: Lengths,
        paddings: Mapping[str, Padding],
        width_alone: Callable[[str, int], int | None] | None = None,
    ) -> dict[str, Sequence[int]]:
        """Each example's own length, for the leaves that are sequences.

        Args:
            leaves: the outputs by path, the examples along the first axis.
            lengths: of the padded tensors by name, each example's own length.
            paddings: of the same tensors.
            width_alone: ``(path, position) -> int``: the second axis of a leaf where the example at
                that position is predicted alone; None where nothing new can be found out.

        Raises:
            OutputStructureError: an output of which it is not known, or a path in ``trim`` that the
                model does not answer with.
        """
        _check_paths(paddings, leaves)
        found: dict[str, Sequence[int]] = {}
        for path, leaf in leaves.items():
            shape: Sequence[int] = getattr(leaf, "shape", ())
            if len(shape) < 2:
                continue
            candidates = [
                name
                for name, one in paddings.items()
                if min(lengths[name]) < shape[1] == one.padded(max(lengths[name]))
                and _may_follow(one, path)
            ]
            told = [name for name in candidates if paddings[name].trim is not None]
            chosen = (
                told[0] if told else self._find(path, shape[1], candidates, lengths, width_alone)
            )
            if chosen is not None:
                found[path] = lengths[chosen]
        return found

    def _find(
        self,
        path: str,
        padded: int,
        candidates: Sequence[str],
        lengths: Lengths,
        width_alone: Callable[[str, int], int | None] | None,
    ) -> str | None:
        """The tensor that a leaf follows, by elimination; None for a leaf of a fixed width."""
        follows = self._follows
        left = [name for name in candidates if follows.get((path, name)) is not False]
        while left:
            position = _telling(path, left, lengths, follows)
            if position is None:
                return left[0]
            if width_alone is None:
                raise OutputStructureError(cannot_tell(path, "it was not predicted here"))
            width = width_alone(path, position)
            for name in left:
                if lengths[name][position] != width:
                    follows[path, name] = False
                elif width < padded:
                    follows[path, name] = True
            left = [name for name in left if follows.get((path, name)) is not False]
        return None


def _telling(
    path: str, names: Sequence[str], lengths: Lengths, follows: Mapping[tuple[str, str], bool]
) -> int | None:
    """The example whose prediction would tell more; None where nothing is open."""
    for name in names:
        if (path, name) not in follows:
            return min(range(len(lengths[name])), key=lengths[name].__getitem__)
    for other in names[1:]:
        for position, pair in enumerate(zip(lengths[names[0]], lengths[other], strict=True)):
            if pair[0] != pair[1]:
                return position
    return None


def _may_follow(padding: Padding, path: str) -> bool:
    if isinstance(padding.trim, bool) or padding.trim is None:
        return padding.trim is not False
    return path in padding.trim


def _check_paths(paddings: Mapping[str, Padding], leaves: Mapping[str, Any]) -> None:
    for padding in paddings.values():
        if isinstance(padding.trim, Sequence):
            unknown = [path for path in padding.trim if path not in leaves]
            if unknown:
                raise OutputStructureError(
                    f"Padding(trim=...) names {unknown[0]!r}, but the model answers with "
                    f"{', '.join(map(repr, leaves))}"
                )


def cannot_tell(path: str, why: str) -> str:
    """The message for an output of which it is not known whether it is a sequence."""
    which = f"leaf {path!r} of the output" if path else "the output"
    return (
        f"{which} is as wide as the padded examples, and whether it holds one entry per position "
        f"cannot be found out ({why}): say Padding(trim=True), or trim=False"
    )
