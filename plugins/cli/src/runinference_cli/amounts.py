"""Numbers and times, as readers like them."""

from __future__ import annotations

__all__ = ["amount", "byte_size", "counted", "duration", "percent", "rate", "short"]


def counted(number: float, what: str) -> str:
    """``1 row``, ``2,000 rows``."""
    plural = what if number == 1 else f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,.0f} {plural}"


def amount(number: float) -> str:
    """A number of any size in a few characters: ``12``, ``3.5 k``, ``1.25 M``."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def short(number: float) -> str:
    """A number that may be any: ``-0.25``, ``1.5e-07``."""
    return f"{number:.3g}" if abs(number) < 1000 else amount(number)


def rate(rows: float, seconds: float) -> str:
    """Rows per second."""
    return f"{amount(rows / max(seconds, 1e-9))} rows/s"


def percent(share: float) -> str:
    """A share of a whole; one that is not nothing is not told as nothing."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def byte_size(size: float) -> str:
    """``12 MiB``, ``3.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000 or unit == "GiB":
            return f"{size:.3g} {unit}"
        size /= 1024
    raise AssertionError


def duration(seconds: float) -> str:
    """``3.4 ms``, ``12.3 s``, ``4 min 5 s``, ``2 h 3 min``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
