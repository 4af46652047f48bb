"""``python -m lightning_tl`` is the same as ``lightning-tl``."""

import sys

from lightning_tl.command import main

if __name__ == "__main__":
    sys.exit(main())
