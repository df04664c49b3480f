"""Write what the code tells into the documentation's pages."""

from __future__ import annotations

from reference.filling import filled, pages
from reference.sources import ROOT


def main() -> None:
    """Write the pages that are stale, and say which."""
    for path in pages():
        before = path.read_text()
        after = filled(before)
        if after != before:
            path.write_text(after)
            print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
