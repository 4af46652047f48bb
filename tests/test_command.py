"""What the command line answers before torch is imported, and what becomes of errors."""

import ast
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from torch.utils.data import DataLoader

from lightning_tl import command
from lightning_tl.data.dataset import FileReader, ImageDataset
from lightning_tl.importing import import_uncollected


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 0, "To begin, give it a folder with one folder of images a class"),
        (("--help",), 0, "usage: lightning-tl COMMAND"),
        (("--version",), 0, "lightning-tl 0."),
        (("fti",), 2, "no such command. Received: fti. Did you mean fit?"),
        (("--data.root", "x", "validate"), 2, "Received: --data.root; lightning-tl validate --data.root ..."),
        (("--trainer.logger", "report", "fit"), 2, "options come after the command. Received: --trainer.logger; lig"),
        (("--trainer.logger", "report", "fit"), 2, "lightning-tl fit --trainer.logger ..."),
        (("--data.root", "report"), 2, "lightning-tl COMMAND --data.root ..."),
        (("--verison",), 2, "no such option. Received: --verison. Did you mean --version?"),
        (("zzz\x1b[2J",), 2, "Received: zzz\\x1b[2J. Commands: fit, validate, test, predict"),
    ],
)
def test_answers_without_torch(args: tuple[str, ...], code: int, said: str) -> None:
    """Which is what makes them quick; the time itself depends on the machine."""
    run = "import sys; from lightning_tl.command import main; code = main(sys.argv[1:]); "
    check = run + "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", check, *args], capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done


@pytest.mark.parametrize(
    "option", ["-c", "-cx.yaml", "--config", "--config=x.yaml", "--conf", "--print_config=skip_null"]
)
def test_configs_with_a_block_for_each_command_come_before_it(option: str) -> None:
    given: list[object] = []
    parsed = ModuleType("lightning")
    parsed.main = lambda args: given.append(args) or 0  # type: ignore[attr-defined]
    assert command.main([option, "x.yaml", "fit"], load=lambda module: parsed) == 0
    assert given == [[option, "x.yaml", "fit"]]


def test_the_first_steps_give_the_root_after_the_config_whose_own_it_replaces() -> None:
    (fit,) = (line for line in command.FIRST_STEPS.splitlines() if "lightning-tl fit" in line)
    assert fit.index("--config") < fit.index("--data.root")


def test_every_command_has_a_module_with_a_main() -> None:
    for module, _ in command.COMMANDS.values():
        path = Path(command.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        defined = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert "main" in defined, module


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


def test_what_a_worker_has_raised_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a file, say, that has gone since training began."""
    images = ImageDataset(["gone.png"], [0], [0], FileReader(tmp_path), (32, 32))

    def training(args: object) -> int:
        return len(list(DataLoader(images, num_workers=1)))

    monkeypatch.setattr("lightning_tl.cli.main", training)
    assert command.main(["fit"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lightning-tl: error: '{tmp_path}/gone.png' cannot be decoded as an image: No such file")
    assert error.count("\n") == 1


def test_the_command_imports_for_good_and_who_calls_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def loading(how: str) -> Callable[[str], ModuleType]:
        def load(name: str) -> ModuleType:
            asked.append(how)
            module = ModuleType(name)
            module.main = lambda args: 0  # type: ignore[attr-defined]
            return module

        return load

    monkeypatch.setattr(command, "import_for_good", loading("for good"))
    monkeypatch.setattr(sys, "argv", ["lightning-tl", "export", "best.ckpt"])
    with pytest.raises(SystemExit, match="0"):
        command.program()
    assert command.main(["export", "best.ckpt"], loading("as told")) == 0
    assert asked == ["for good", "as told"]
    assert command.main.__defaults__ == (None, import_uncollected)


def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a class in a log on a Windows of Western Europe."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "argv", ["lightning-tl"])
    with pytest.raises(SystemExit):
        command.program()
    print("\N{CAT FACE}", end="")
    shown.flush()
    assert shown.buffer.getvalue().endswith(b"\\U0001f431")  # type: ignore[attr-defined]


def test_a_reader_that_has_left_ends_a_command_as_it_ends_others(tmp_path: Path) -> None:
    """As ``head`` leaves; the command's own errors do not come into it."""
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "lightning_tl", "completion"]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
