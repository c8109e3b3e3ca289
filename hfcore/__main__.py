"""Run the command line: `python -m hfcore`."""

from __future__ import annotations

import sys

from hfcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
