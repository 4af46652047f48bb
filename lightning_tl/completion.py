"""``lightning-tl completion``: the script by which a shell completes commands and options."""

from collections.abc import Sequence
from pathlib import Path

from lightning_tl.option_errors import OptionParser


def main(args: Sequence[str]) -> int:
    """Print completion.bash, which scripts/completion.py writes; returns the exit status."""
    OptionParser(
        prog="lightning-tl completion",
        description="Print a script that has bash complete commands and options, once it is loaded with "
        "source <(lightning-tl completion); and zsh, after autoload -U +X bashcompinit && bashcompinit.",
    ).parse_args(list(args))
    print(Path(__file__).with_suffix(".bash").read_text(encoding="utf-8"), end="")
    return 0
