"""What TAB completes is what the commands take."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

import lightning_tl

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
