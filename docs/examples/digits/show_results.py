"""Show predictions of digits beside their labels, and how many are right.

    python show_results.py FOLDER

reads what ``runinference score --keep label`` wrote to ``FOLDER``.
"""

from __future__ import annotations

import argparse

import pandas as pd


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the results")
    results = pd.read_parquet(parser.parse_args().folder)

    is_right = results["prediction"] == results["label"]
    shown = pd.concat([results[is_right].head(8), results[~is_right].head(4)])
    print("Some predictions beside the labels:\n")
    print(shown.assign(right=is_right.map({True: "yes", False: "no"})).to_string(index=False))
    print(f"\n{is_right.sum()} of {len(results)} are right: an accuracy of {is_right.mean():.1%}")


if __name__ == "__main__":
    main()
