"""`python -m qpat` is the command `qpat`."""

import sys

from qpat.cli import main

if __name__ == "__main__":
    sys.exit(main())
