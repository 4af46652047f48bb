"""The command line: ``python -m keras_ref fit --config X.yaml [--config Y.yaml] [--data.root DIR] …``."""

import argparse
import sys
from collections.abc import Sequence

from keras_ref.backend import select_backend
from keras_ref.config import read_config
from keras_ref.errors import InputError

ENDED_BY_SIGINT = 130
"""Exit status, as shells have it: 128 and the signal's number."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Bad input is one message without a traceback, and so is Ctrl-C."""
    options, rest = _parser().parse_known_args(args)
    try:
        first, *others = options.config
        config = read_config(first, parse_overrides(rest), others)
        select_backend()
        from keras_ref.fit import fit  # imports keras, which reads the backend's name at once

        print(f"run folder: {fit(config)}")
    except InputError as error:
        print(f"keras_ref: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras_ref: interrupted", file=sys.stderr)
        return ENDED_BY_SIGINT
    return 0


def parse_overrides(args: Sequence[str]) -> dict[str, str]:
    """``--data.root X`` or ``--data.root=X`` as a mapping from dotted key to text.

    Raises:
        InputError: an argument that is no such pair.
    """
    overrides: dict[str, str] = {}
    rest = list(args)
    while rest:
        key, given, value = rest.pop(0).partition("=")
        if not key.startswith("--") or not (given or rest):
            raise InputError(f"arguments: --key value is needed, with a dotted key of the config. Received: {key}.")
        overrides[key[2:]] = value if given else rest.pop(0)
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_ref",
        description="The recipe in Keras 3. The backend is KERAS_BACKEND, else the first one installed.",
        epilog="Any value of the config can be given as --block.key VALUE, for example --data.root images, and then "
        "counts instead of those in files.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("fit", help="train and evaluate", allow_abbrev=False)
    words = "the YAML that lightning-tl fit reads; given again, what the last says counts"
    command.add_argument("--config", required=True, action="append", help=words)
    return parser
