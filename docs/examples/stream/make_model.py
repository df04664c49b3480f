"""Train a classifier of handwritten digits, 64 numbers each, and put it where it is watched for.

    python make_model.py models/first.skops [--c 0.1]

The file is written under another name and renamed, so that nobody ever reads half of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import skops.io
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--c", type=float, default=1.0, help="of the logistic regression")
    told = parser.parse_args(arguments)
    pixels, labels = load_digits(return_X_y=True)
    model = LogisticRegression(C=told.c, max_iter=5000).fit(pixels[200:], labels[200:])
    told.path.parent.mkdir(parents=True, exist_ok=True)
    part = told.path.with_suffix(".part")
    skops.io.dump(model, part)
    part.rename(told.path)


if __name__ == "__main__":
    main()
