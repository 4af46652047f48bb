"""Choosing a backend before Keras is imported."""

import ast
from pathlib import Path
from typing import Any

import pytest

import keras_ref
from keras_ref.backend import BACKENDS, select_backend
from keras_ref.errors import InputError

PACKAGE = Path(keras_ref.__file__).parent
CHOOSE = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # as if it were not installed
from keras_ref.backend import select_backend
chosen = select_backend()
import keras
assert keras.config.backend() == chosen
print(chosen)
"""


def test_an_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(InputError, match="KERAS_BACKEND=theano cannot be used"):
        select_backend()


def test_without_tensorflow_an_installed_backend_is_chosen(tmp_path: Path, python: Any) -> None:
    pytest.importorskip("torch")
    done = python(["-c", CHOOSE.format(missing=["tensorflow", "jax"])], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["torch"]
    assert not (tmp_path / ".keras").exists()


def test_where_no_backend_is_installed_the_error_says_so(tmp_path: Path, python: Any) -> None:
    done = python(["-c", CHOOSE.format(missing=list(BACKENDS.values()))], tmp_path)
    assert done.returncode == 1
    assert "no Keras backend is installed" in done.stderr


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_neither_torch_nor_lightning_tl_is_imported(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"torch", "torchvision", "lightning", "lightning_tl", "timm"}
