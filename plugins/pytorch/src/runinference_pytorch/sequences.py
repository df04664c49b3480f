"""Find out which outputs of a padded batch hold one entry per position, and are to be trimmed.

An output as wide as the padded batch may be a sequence, or have that many classes by chance. What
tells them apart is an example of another length, predicted alone: a sequence is as long as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runinference.errors import OutputStructureError
from runinference_pytorch.padding import Padding

__all__ = ["Probe", "SequenceFinder", "cannot_tell"]

Lengths = Mapping[str, Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Probe:
    """One example predicted alone.

    Attributes:
        lengths: of the padded tensors by name, as the model was given them.
        widths: of the outputs by path, their second axis; without those that have none.
    """

    lengths: Mapping[str, int]
    widths: Mapping[str, int]


class SequenceFinder:
    """What is known about a loaded model's outputs: which follow the lengths of which tensor."""

    def __init__(self) -> None:
        self._follows: dict[tuple[str, str], bool] = {}

    def lengths(
        self,
        leaves: Mapping[str, Any],
        lengths: Lengths,
        paddings: Mapping[str, Padding],
        probe: Callable[[str, int, bool], Probe] | None = None,
    ) -> dict[str, Sequence[int]]:
        """Each example's own length, for the leaves that are sequences, padded here or not.

        Args:
            leaves: the outputs by path, the examples along the first axis.
            lengths: of the padded tensors by name, each example's own length.
            paddings: of the same tensors.
            probe: ``(path, position, resized)``: predicts the example at that position alone, at
                its own length, or resized to another one; None where nothing new can be found out.

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
                if shape[1] == one.padded(max(lengths[name])) and _may_follow(one, path)
            ]
            told = [name for name in candidates if paddings[name].trim is not None]
            chosen = told[0] if told else self._find(path, shape[1], candidates, lengths, probe)
            if chosen is not None:
                found[path] = lengths[chosen]
        return found

    def _find(
        self,
        path: str,
        padded: int,
        candidates: Sequence[str],
        lengths: Lengths,
        probe: Callable[[str, int, bool], Probe] | None,
    ) -> str | None:
        """The tensor that a leaf follows, by elimination; None for a leaf of a fixed width."""
        follows = self._follows
        left = [name for name in candidates if follows.get((path, name)) is not False]
        while left:
            telling = _telling(path, padded, left, lengths, follows)
            if telling is None:
                return left[0]
            if probe is None:
                raise OutputStructureError(cannot_tell(path, "it was not predicted here"))
            seen = probe(path, *telling)
            width = seen.widths.get(path)
            for name in left:
                if seen.lengths[name] != width:
                    follows[path, name] = False
                elif width != padded:
                    follows[path, name] = True
            left = [name for name in left if follows.get((path, name)) is not False]
        return None


def _telling(
    path: str,
    padded: int,
    names: Sequence[str],
    lengths: Lengths,
    follows: Mapping[tuple[str, str], bool],
) -> tuple[int, bool] | None:
    """The example whose prediction would tell more, and whether it has to be resized for that.

    None where nothing is open.
    """
    for name in names:
        if (path, name) not in follows:
            own = lengths[name]
            # the shortest, but no empty one, which many models refuse
            position = min(range(len(own)), key=lambda i: (own[i] == 0, own[i]))
            return position, own[position] in (0, padded)
    for other in names[1:]:
        for position, pair in enumerate(zip(lengths[names[0]], lengths[other], strict=True)):
            if pair[0] != pair[1]:
                return position, False
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
