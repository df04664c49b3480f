"""Draw ratios as bars on a logarithmic axis, as SVG that is legible on light and dark pages."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from html import escape

__all__ = ["Bar", "draw"]

_WIDTH, _LEFT, _RIGHT = 760, 190, 60
_LINE, _TITLE, _GAP, _TOP = 17, 22, 10, 34

# Its own ground under it, so that the text's contrast does not depend on the page.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.ground { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #d0d7de } .one { stroke: #24292f }
.other { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9da7b3 }
  .ground { fill: #161b22; stroke: #30363d }
  .grid { stroke: #30363d } .one { stroke: #e6edf3 }
  .other { fill: #6e7681 } .ours { fill: #58a6ff }
}
"""


@dataclasses.dataclass(frozen=True)
class Bar:
    """One system: its name, its ratio, and the ratio as it is written beside the bar."""

    name: str
    ratio: float
    label: str
    is_ours: bool


def draw(groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """An SVG document with a group of bars per job, from 1 to the right where slower."""
    ratios = [bar.ratio for _, bars in groups for bar in bars]
    low = math.floor(2 * math.log10(min([*ratios, 0.5]))) / 2
    high = math.ceil(2 * math.log10(max([*ratios, 2]))) / 2

    def x(ratio: float) -> float:
        share = (math.log10(ratio) - low) / (high - low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    height = _TOP + sum(_TITLE + _LINE * len(bars) + _GAP for _, bars in groups) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>Time as a multiple of the hand-written loop's</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>',
        '<text class="small" x="12" y="20">time over the loop\'s (1), logarithmic</text>',
    ]
    for power in range(math.ceil(low), math.floor(high) + 1):
        at, kind = x(10.0**power), "one" if power == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{at}" x2="{at}" y1="26" y2="{height - 8}"/>')
        parts.append(
            f'<text class="small" x="{at}" y="20" text-anchor="middle">{10**power:g}</text>'
        )
    y = _TOP
    for title, bars in groups:
        parts.append(f'<text class="title" x="12" y="{y + 14}">{escape(title)}</text>')
        y += _TITLE
        for bar in bars:
            parts += _bar(bar, x, y)
            y += _LINE
        y += _GAP
    return "\n".join([*parts, "</svg>", ""])


def _bar(bar: Bar, x: Callable[[float], float], y: int) -> list[str]:
    start, end = sorted((x(1.0), x(bar.ratio)))
    kind = "ours" if bar.is_ours else "other"
    width = max(round(end - start, 1), 1.5)
    return [
        f'<text x="{_LEFT - 14}" y="{y + 11}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{kind}" x="{start}" y="{y + 1}" width="{width}" height="12" rx="2"/>',
        f'<text class="small" x="{end + 5}" y="{y + 11}">{escape(bar.label)}</text>',
    ]
