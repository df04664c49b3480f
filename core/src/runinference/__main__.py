"""``python -m runinference handlers``: list installed handlers, where the command line is not."""

from __future__ import annotations

import argparse
import sys

from runinference._version import __version__
from runinference.registry import available_handlers


def main(arguments: list[str] | None = None) -> int:
    """Print one line per handler: name, distribution, version, target."""
    parser = argparse.ArgumentParser(prog="python -m runinference", description=__doc__)
    parser.add_argument("--version", action="version", version=f"runinference {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("handlers", help="list the installed handlers")
    parser.parse_args(arguments)
    handlers = available_handlers()
    if not handlers:
        print("no handlers installed; for example: pip install runinference-sklearn")
    for handler in handlers:
        print(f"{handler.name}\t{handler.distribution} {handler.version}\t{handler.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
