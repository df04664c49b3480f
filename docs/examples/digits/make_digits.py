"""Train a classifier of handwritten digits, and write the rows that it has not seen to Parquet.

    python make_digits.py FOLDER

makes ``FOLDER/model.skops`` and ``FOLDER/digits/*.parquet``: 8 x 8 pixels in 64 columns, and the
digit itself in the column ``label``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import skops.io
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    """Train, save, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to put model and data")
    folder = parser.parse_args().folder

    pixels, labels = load_digits(return_X_y=True, as_frame=True)
    train, held_out, train_labels, held_out_labels = train_test_split(
        pixels, labels, test_size=0.25, random_state=0, stratify=labels
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train, train_labels)

    (folder / "digits").mkdir(parents=True, exist_ok=True)
    skops.io.dump(model, folder / "model.skops")
    rows = held_out.assign(label=held_out_labels)
    half = len(rows) // 2
    for name, part in (("first", rows.iloc[:half]), ("second", rows.iloc[half:])):
        part.to_parquet(folder / "digits" / f"{name}.parquet", index=False)

    print(f"Trained on {len(train):,} digits of 8 x 8 pixels: {folder / 'model.skops'}")
    print(f"Wrote {len(rows)} digits that it has not seen: {folder / 'digits'}/*.parquet")


if __name__ == "__main__":
    main()
