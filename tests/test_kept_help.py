"""A command's help is the parser's own, and quick once it has been made."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lightning_tl import command, kept_help
from lightning_tl.caches import FOLDER_VARIABLE

RUN = """
import sys
from lightning_tl.command import main
sys.argv[0] = "lightning-tl"
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print("torch" in sys.modules, code, file=sys.stderr)
"""


def said(args: Sequence[str], folder: Path, columns: int = 80) -> tuple[str, str]:
    """What a process prints, and whether it has imported torch, with its exit status."""
    environment = {**os.environ, FOLDER_VARIABLE: str(folder), "COLUMNS": str(columns)}
    run = [sys.executable, "-c", RUN, *args]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.strip().splitlines()[-1]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the texts are kept."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path / "help"


class Parser:
    """Prints another text each time."""

    def __init__(self, status: int | None = None) -> None:
        self.calls, self.status = 0, status

    def __call__(self, args: Sequence[str]) -> int:
        assert args == ["fit", "--help"]
        self.calls += 1
        print(f"text {self.calls}")
        if self.status is None:
            raise SystemExit(0)
        return self.status


def test_the_second_time_it_is_the_same_text_without_torch(tmp_path: Path) -> None:
    made, slow = said(["fit", "--help"], tmp_path)
    again, quick = said(["fit", "-h"], tmp_path)
    assert made.startswith("usage: lightning-tl")
    assert "--trainer.max_epochs" in made
    assert again == made
    assert (slow, quick) == ("True 0", "False 0")


PROGRAMS = ([sys.executable, "-m", "lightning_tl"], [str(Path(sys.executable).parent / "lightning-tl")])


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_ends_at_once_with_the_whole_help_and_nothing_else(program: list[str], tmp_path: Path) -> None:
    """Python's own end would take down all that was imported; what it would have written must be there all the same."""
    environment = {**os.environ, FOLDER_VARIABLE: str(tmp_path), "COLUMNS": "80"}
    run = [*program, "fit", "--help"]
    first, again = (subprocess.run(run, env=environment, capture_output=True, text=True, check=True) for _ in range(2))
    assert "--trainer.max_epochs" in first.stdout
    assert first.stdout.endswith("\n")
    assert (first.stderr, again.stderr) == ("", "")
    assert again.stdout == first.stdout
    assert (tmp_path / "help" / "fit.txt").read_text().partition("\n")[2] == first.stdout


@pytest.mark.parametrize("args", [["--help"], ["fit", "--help"]])
def test_a_reader_that_leaves_is_no_error(args: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, FOLDER_VARIABLE: str(tmp_path)}
    run = [*PROGRAMS[0], *args]
    done = subprocess.run(run, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (command.ENDED_BY_SIGPIPE, "")


@pytest.mark.parametrize(("status", "ended"), [(0, 0), (2, 2)])
def test_only_a_help_that_succeeded_ends_the_process_at_once(
    status: int, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndedError(Exception):
        pass

    def end(code: int) -> None:
        raise EndedError(code)

    monkeypatch.setattr(command.os, "_exit", end)
    monkeypatch.setattr(command.sys, "argv", ["lightning-tl", "fit", "--help"])
    monkeypatch.setattr(command, "main", lambda load: status)
    monkeypatch.setattr(command.gc, "disable", lambda: None)
    with pytest.raises(EndedError if status == 0 else SystemExit) as raised:
        command.program()
    assert raised.value.args == (ended,)


def test_kept_for_each_command_and_only_where_help_alone_is_asked_for(kept: Path) -> None:
    assert kept_help.print_help("fit", Parser()) == 0
    assert [path.name for path in kept.iterdir()] == ["fit.txt"]
    asked: list[Sequence[str] | None] = []

    def run(module: str, args: Sequence[str] | None, load: object) -> int:
        asked.append(args)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_tl.command._run", run)
        command.main(["fit", "--trainer.callbacks.help", "EarlyStopping"])
        command.main(["fit", "--help", "--config", "x.yaml"])
    assert asked == [["fit", "--trainer.callbacks.help", "EarlyStopping"], ["fit", "--help", "--config", "x.yaml"]]


def test_made_anew_when_the_terminal_or_a_package_changes(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser()
    for columns in ("80", "80", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        kept_help.print_help("fit", parser)
    assert parser.calls == 2
    monkeypatch.setattr(kept_help, "version", lambda package: "another")
    kept_help.print_help("fit", parser)
    assert parser.calls == 3
    assert capsys.readouterr().out == "text 1\ntext 1\ntext 2\ntext 3\n"
    assert len(list(kept.iterdir())) == 1


def test_an_error_is_not_kept(kept: Path) -> None:
    assert kept_help.print_help("fit", Parser(status=1)) == 1
    assert not kept.exists()


@pytest.mark.parametrize("contents", [b"", b"\xff\xfe", b"another key\nold text\n"])
def test_a_file_that_is_not_ours_is_replaced(kept: Path, contents: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    kept.mkdir()
    (kept / "fit.txt").write_bytes(contents)
    kept_help.print_help("fit", Parser())
    assert capsys.readouterr().out == "text 1\n"
    assert (kept / "fit.txt").read_text().endswith("\ntext 1\n")


def test_where_nothing_can_be_kept_it_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "/proc/nowhere")
    assert kept_help.print_help("fit", Parser()) == 0
    assert capsys.readouterr().out == "text 1\n"


def test_a_user_without_a_home_has_help_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept_help, "default_folder", lambda: None)
    parser = Parser()
    assert [kept_help.print_help("fit", parser) for _ in range(2)] == [0, 0]
    assert capsys.readouterr().out == "text 1\ntext 2\n"
