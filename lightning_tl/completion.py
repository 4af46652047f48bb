"""``lightning-tl completion``: the script by which a shell completes commands and options."""

from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str]) -> int:
    """Print completion.bash, which scripts/completion.py writes; ``args`` are ignored. Returns the exit status."""
    print(Path(__file__).with_suffix(".bash").read_text(encoding="utf-8"), end="")
    return 0
