"""The command ``lightning-tl``: answers at once what needs no torch, and passes the rest to the command asked for."""

import difflib
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from types import ModuleType
from typing import NoReturn

from lightning_tl.errors import InputError, printable, told
from lightning_tl.importing import import_for_good, import_uncollected
from lightning_tl.kept_help import print_help

TRACEBACK = "LIGHTNING_TL_TRACEBACK"
"""Environment variable; any value but 0 shows the traceback of an unexpected error."""

LIGHTNING = "lightning_tl.cli"
COMMANDS = {
    "fit": (LIGHTNING, "train phase by phase; writes a run folder"),
    "validate": (LIGHTNING, "loss, accuracy and F1 of a checkpoint on the run's validation images"),
    "test": (LIGHTNING, "the same on its test images"),
    "predict": (LIGHTNING, "classes and probabilities of new images"),
    "report": ("lightning_tl.report.command", "one HTML file about one run or several"),
    "export": ("lightning_tl.export.command", "a checkpoint as ONNX, PT2, Keras or safetensors file"),
    "completion": ("lightning_tl.completion", "a script that has bash and zsh complete commands and options"),
}
"""Each with the module whose ``main`` runs it, and what it does."""

FIRST_STEPS = """Transfer learning for images. To begin, give it a folder with one folder of images a class:

  lightning-tl fit --config configs/folder.yaml --data.root path/to/images
  lightning-tl report runs/folder
  lightning-tl predict path/to/new_images --ckpt_path runs/folder/checkpoints/best.ckpt
  lightning-tl export runs/folder/checkpoints/best.ckpt --format onnx --output model.onnx

All commands: lightning-tl --help
"""


HELP = ("-h", "--help")
ENDED_BY_SIGINT, ENDED_BY_SIGPIPE = 128 + 2, 128 + 13  # as shells tell of a process that a signal has ended


def program() -> NoReturn:
    """``lightning-tl`` as a process of its own: ``main``, whose status it ends with.

    One that was only asked for help ends at once. Looking for garbage among all that torch and Lightning define, and
    taking it down in the end, was 2.3 of the 7.2 seconds that a first ``fit --help`` took.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that its encoding lacks are escaped, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    asked = sys.argv[-1] in HELP
    if asked:
        gc.disable()
    try:
        status = main(load=import_for_good)
        sys.stdout.flush()
    except KeyboardInterrupt:  # a second one, while all is being put away after the first
        status = ENDED_BY_SIGINT
    except BrokenPipeError:  # whoever read has left, as ``head`` does; Python would write to it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ENDED_BY_SIGPIPE)
    if status == ENDED_BY_SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if asked and status == 0:
        os._exit(status)
    sys.exit(status)


def main(args: Sequence[str] | None = None, load: Callable[[str], ModuleType] = import_uncollected) -> int:
    """Run the command line ``args``, by default the process's own; returns the exit status.

    ``load`` imports the module of a command.

    0 is success, 2 bad input, told in one message; 1 an unexpected error, without its traceback unless that is asked
    for; 130 an interruption by Ctrl-C; 143 one by SIGTERM.
    """
    words = list(sys.argv[1:] if args is None else args)
    if not words:
        print(FIRST_STEPS, end="")
        return 0
    first = words[0]
    if first in HELP:
        print(_help(), end="")
        return 0
    if first == "--version":
        print(f"lightning-tl {version('lightning-tl')}")
        return 0
    if _comes_before_commands(first):
        return _run(LIGHTNING, args, load)
    if first not in COMMANDS:
        print(f"lightning-tl: error: {printable(_unknown(words))}", file=sys.stderr)
        return 2
    module = COMMANDS[first][0]
    if module == LIGHTNING and len(words) == 2 and words[1] in HELP:
        return print_help(first, lambda asked: _run(module, asked, load))
    return _run(module, args if module == LIGHTNING else words[1:], load)


def _run(module: str, args: Sequence[str] | None, load: Callable[[str], ModuleType]) -> int:
    """The command's own ``main``, and what becomes of its errors."""
    try:
        return int(load(module).main(args))
    except InputError as error:
        print(f"lightning-tl: error: {printable(told(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as ended:
        print(f"lightning-tl: {printable(str(ended)) or 'interrupted'}", file=sys.stderr)
        return ENDED_BY_SIGINT
    except BrokenPipeError:  # which ``program`` answers
        raise
    except Exception as error:
        if os.environ.get(TRACEBACK, "0") != "0":
            traceback.print_exc()
        else:
            what = printable(f"{type(error).__name__}: {error}")
            print(f"lightning-tl: error: {what}\n({TRACEBACK}=1 shows where.)", file=sys.stderr)
        return 1


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: lightning-tl COMMAND [options]",
            "",
            "Transfer learning for images on PyTorch Lightning.",
            "",
            *lines,
            "",
            "lightning-tl COMMAND --help tells the options of a command; fit --print_config, a whole config.",
            "--version tells the version.",
            "",
        ]
    )


def _comes_before_commands(option: str) -> bool:
    """Whether it is LightningCLI's own, of configs with a block for each command, or short for one."""
    name = option.partition("=")[0]
    return option.startswith("-c") or (len(name) > 2 and "--config".startswith(name)) or name == "--print_config"


def _unknown(words: Sequence[str]) -> str:
    name = words[0]
    if not name.startswith("-"):
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(COMMANDS)}."
        return f"no such command. Received: {name}. {hint}"
    if near := difflib.get_close_matches(name, ["--help", "--version"], n=1):
        return f"no such option. Received: {name}. Did you mean {near[0]}?"
    values = [before.startswith("-") and "=" not in before for before in words]  # of the option before
    commands = [word for word, is_value in zip(words[1:], values, strict=False) if word in COMMANDS and not is_value]
    return (
        f"options come after the command. Received: {name}; lightning-tl {next(iter(commands), 'COMMAND')} {name} ..."
    )
