"""The modules of this folder are importable by name, also in the processes that tests start."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
