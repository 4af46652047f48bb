"""What TAB completes is what the commands take."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

import lightning_tl
from lightning_tl.command import main

ROOT = Path(__file__).parent.parent
SCRIPT = Path(lightning_tl.__file__).parent / "completion.bash"


def test_the_script_knows_the_options_of_today() -> None:
    spec = importlib.util.spec_from_file_location("completion_script", ROOT / "scripts" / "completion.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert SCRIPT.read_text() == module.script(), "run scripts/completion.py"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["lightning-tl", "pre"], ["predict"]),
        (["lightning-tl", "fit", "--trainer.max_ep"], ["--trainer.max_epochs"]),
        (["lightning-tl", "export", "best.ckpt", "--fo"], ["--format"]),
        (["lightning-tl", "report", "ru"], []),
    ],
)
def test_bash_completes(words: list[str], completed: list[str]) -> None:
    code = f"source {SCRIPT}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _lightning_tl; "
    code += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 0, "# Completion of lightning-tl for bash"),
        (["--help"], 0, "usage: lightning-tl completion"),
        (["zsh"], 2, "no such option. Received: zsh."),
    ],
)
def test_completion_takes_no_words(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        ended: object = main(["completion", *words])
    except SystemExit as exit_:
        ended = exit_.code
    told = capsys.readouterr()
    assert ended == code
    assert said in (told.err if code else told.out)
    assert ("complete -o default" in told.out) == (words == [])
