"""What the command line answers before torch is imported, and what becomes of errors."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_tl import command

SECONDS = 0.5
"""Promised for an answer that needs no torch."""


def answer(*args: str) -> tuple[float, "subprocess.CompletedProcess[str]"]:
    """The fastest of three runs: the machine may be busy."""
    runs = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "lightning_tl", *args], capture_output=True, text=True, check=False
        )
        runs.append((time.perf_counter() - began, done))
    return min(runs, key=lambda run: run[0])


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 0, "To begin, give it a folder with one folder of images a class"),
        (("--help",), 0, "usage: lightning-tl COMMAND"),
        (("--version",), 0, "lightning-tl 0."),
        (("fti",), 2, "no such command. Received: fti. Did you mean fit?"),
        (("zzz\x1b[2J",), 2, "Received: zzz\\x1b[2J. Commands: fit, validate, test, predict"),
    ],
)
def test_answers_without_torch(args: tuple[str, ...], code: int, said: str) -> None:
    seconds, done = answer(*args)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
    modules = "import sys; sys.argv = ['x', *sys.argv[1:]]; from lightning_tl.command import main; main(); "
    check = modules + "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check, *args], check=True, capture_output=True)
    print(f"{seconds:.2f} s of {SECONDS}")


def test_every_command_has_a_module_with_a_main() -> None:
    for module, _ in command.COMMANDS.values():
        assert Path(command.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py").is_file(), module


@pytest.mark.parametrize("asked", [True, False])
def test_an_unexpected_error_shows_its_traceback_only_if_asked(
    asked: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(args: object) -> int:
        raise RuntimeError("pipe \x07 burst")

    monkeypatch.setattr("lightning_tl.cli.main", broken)
    monkeypatch.setenv(command.TRACEBACK, str(int(asked)))
    assert command.main(["fit"]) == 1
    error = capsys.readouterr().err
    assert ("Traceback" in error) == asked
    if not asked:
        assert error.startswith("lightning-tl: error: RuntimeError: pipe \\x07 burst\n(LIGHTNING_TL_TRACEBACK=1")


def test_ctrl_c_is_no_error_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_tl.cli.main", interrupted)
    assert command.main(["fit"]) == 130
    assert capsys.readouterr().err == "lightning-tl: interrupted\n"
