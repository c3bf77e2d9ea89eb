"""`python -m qpat` is the command `qpat`."""

import sys

from qpat.cli import run

if __name__ == "__main__":
    sys.exit(run())
