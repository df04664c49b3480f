"""``python -m runinference_cli``: the same as the command ``runinference``."""

import sys

from runinference_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
