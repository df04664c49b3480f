"""Draw what was collected, as SVG that takes its colours from the page around it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

from runinference_cli.run_report.sketches import Bar

__all__ = ["histogram", "over_time"]

# Importing pygal leaves a finder of an old kind there, which later imports of anything warn of; it
# is for pygal's maps alone.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, pygal.PluginImportFixer)]

_WIDTH, _HEIGHT = 400, 190
_LEFT_OUT = ("defs", "desc", "title")
# The page's own style sheet has the same sizes: the room for labels is made with these.
_STYLE = Style(label_font_size=11, major_label_font_size=11)
_TICKS = 6


def histogram(
    title: str,
    bars: Sequence[Bar],
    told: Callable[[float], str],
    *,
    is_logarithmic: bool = False,
    what: str = "calls",
) -> Markup:
    """Bars of a histogram.

    Args:
        title: for who does not see it.
        bars: side by side.
        told: a bound, for a reader.
        is_logarithmic: whether the bounds are drawn by their logarithms.
        what: is counted.
    """
    place: Callable[[float], float] = math.log2 if is_logarithmic else float
    chart = pygal.Histogram(**_options())
    values = [
        {
            "value": (height, place(low), place(high)),
            "formatter": lambda _, low=low, high=high, height=height: (
                f"{told(low)} to {told(high)}: {height:,.0f} {what}"
            ),
        }
        for low, high, height in bars
        if height
    ]
    chart.add("", values)
    ticks = (_log_ticks if is_logarithmic else _ticks)(bars[0][0], bars[-1][1])
    chart.x_labels = [{"value": place(tick), "label": told(tick)} for tick in ticks]
    return _drawn(chart, title)


def over_time(
    title: str, amounts: Sequence[float], width: float, told: Callable[[float], str]
) -> Markup:
    """A line over seconds, with the area under it.

    Args:
        title: for who does not see it.
        amounts: one for each bin of time.
        width: of a bin, in seconds.
        told: an amount, for a reader.
    """
    chart = pygal.XY(
        **_options(), fill=True, show_dots=False, value_formatter=lambda value: told(value)
    )
    points = [((number + 0.5) * width, amount) for number, amount in enumerate(amounts)]
    end = len(amounts) * width
    chart.add("", [(0.0, points[0][1]), *points, (end, points[-1][1])])
    chart.range = (0, max(*amounts, 1e-9))
    ticks = _ticks(0.0, end)
    chart.x_labels = [{"value": tick, "label": _seconds(tick, ticks[1])} for tick in ticks]
    return _drawn(chart, title)


def _options() -> dict[str, Any]:
    return {
        "css": [],
        "js": [],
        "height": _HEIGHT,
        "margin": 4,
        "margin_right": 14,
        "max_scale": 5,
        "min_scale": 3,
        "show_legend": False,
        "style": _STYLE,
        "width": _WIDTH,
        "zero": 0,
    }


def _drawn(chart: Any, title: str) -> Markup:
    """The picture alone: no script, no style and no comment of its own, but tooltips."""
    root = chart.render_tree()
    root.set("role", "img")
    root.set("aria-label", title)
    parents = list(root.iter())
    for parent in parents:
        told = [child for child in parent if child.tag == "desc" and child.get("class") == "value"]
        for child in list(parent):
            if child.tag in _LEFT_OUT or not isinstance(child.tag, str):
                parent.remove(child)
        if told:
            ElementTree.SubElement(parent, "title").text = told[0].text
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _ticks(low: float, high: float) -> list[float]:
    """At least two round numbers between two others."""
    step = _nice((high - low) / _TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two others, whose logarithms lie about evenly; or those two."""
    if high < 8 * low:
        return _ticks(low, high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**power for power in powers for f in factors]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if 2 <= len(ticks) <= _TICKS + 1:
            return ticks
    return ticks[:: -(-len(ticks) // _TICKS)] if len(ticks) > _TICKS else [low, high]


def _nice(step: float) -> float:
    """1, 2 or 5 times a power of ten, not much below a step."""
    power: float = 10 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.95)


def _seconds(tick: float, step: float) -> str:
    if step >= 60:
        return f"{tick / 60:.0f} min" if step < 3600 else f"{tick / 3600:.1f} h"
    return f"{tick:.{0 if step >= 1 else 1 if step >= 0.1 else 2}f} s"
