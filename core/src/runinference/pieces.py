"""A part of a batch on the way to its predictions, and the ways to divide it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from runinference.batch import Batch, Positions, pick
from runinference.failures import Reason

__all__ = ["Piece"]

# Of how many of its examples a failing call is asked once the search for bad ones is stopped.
_PROBES = 4


class Piece(NamedTuple):
    """Some examples of a batch.

    Attributes:
        batch: the examples.
        positions: where they stand in the whole batch.
        is_prepared: whether the handler has prepared them, so that they can be predicted.
        is_divided: whether it is as small as it is because a larger one failed.
        failed: why a larger one failed, where a call of this one may not be worth it.
    """

    batch: Batch
    positions: Positions
    is_prepared: bool = False
    is_divided: bool = False
    failed: Reason | None = None

    def cut(self, parts: Iterable[Positions]) -> Iterator[Piece]:
        """A piece of each of these, which are positions in this one."""
        for own in parts:
            yield self._replace(batch=self.batch.take(own), positions=pick(self.positions, own))

    def halves(self) -> Iterator[Piece]:
        """Two pieces of half the size."""
        size = len(self.batch)
        divided = self._replace(is_divided=True)
        return divided.cut([range(size // 2), range(size // 2, size)])

    def probes(self, reason: Reason) -> Iterator[Piece]:
        """A few examples one by one, and then all others, worth no call if the few fail."""
        size = len(self.batch)
        divided = self._replace(is_divided=True)
        probes = sorted({size * probe // _PROBES for probe in range(_PROBES)})
        yield from divided.cut([probe] for probe in probes)
        rest = [position for position in range(size) if position not in probes]
        yield from divided._replace(failed=reason).cut([rest] if rest else [])
