"""Make the package of the benchmarks importable, as `python -m benchmarks` has it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
