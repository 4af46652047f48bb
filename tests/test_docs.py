"""What README and docs show is run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training import draw_images

from lightning_tl.phase import make_phases

ROOT = Path(__file__).parent.parent


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_python_api_of_the_readme_runs(tmp_path: Path) -> None:
    """Word for word, but for the images, their number and size, and the weights."""
    (code,) = blocks(ROOT / "README.md", "python")
    for old, new in (
        ('"path/to/images", image_size=160', '"images", image_size=32, num_workers=0'),
        ('weights="imagenet",\n    image_size=160', 'weights="none",\n    image_size=32'),
        ("epochs=5", "epochs=1"),
    ):
        assert old in code
        code = code.replace(old, new)
    draw_images(tmp_path / "images")
    assert run(code, tmp_path, CUDA_VISIBLE_DEVICES="").strip().splitlines()[-1] == "('blue', 'green', 'red')"


def test_the_phases_of_the_readme_are_phases() -> None:
    (block,) = blocks(ROOT / "README.md", "yaml")
    head, finetune = make_phases(yaml.safe_load(block)["phases"])
    assert (head.unfreeze_last, finetune.scheduler, finetune.start_from) == (0, "cosine", "best")


def test_the_batchnorm_page_prints_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    (code,), (output,) = (blocks(ROOT / "docs" / "batchnorm.md", language) for language in ("python", "text"))
    printed = run(code, tmp_path, KERAS_BACKEND="torch", KERAS_HOME=str(tmp_path), CUDA_VISIBLE_DEVICES="")
    assert printed.strip().splitlines()[-1] == output.strip()


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"(?:configs|docs|scripts|lightning_tl|keras_ref|parity_tests)/[\w./-]+\w", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
