"""Script: run the code of a model card on images, as somebody who has never heard of lightning_tl would.

In a folder: ``code.py`` uses ``images`` and sets ``logits`` and ``probabilities``, or the latter alone; ``images.npy``
holds uint8 (images, ...). Writes ``answers.npz`` with the answers for one image (``logits_one``), and for all and one
more (``logits_many``), and ``versions.json``. Run by ``verify.py`` in a process of its own.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

OUTPUTS = ("logits", "probabilities")


def run(code: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs that ``code`` sets for ``images``."""
    scope: dict[str, Any] = {"images": images}
    exec(compile(code, "code.py", "exec"), scope)
    return {name: np.asarray(scope[name]) for name in OUTPUTS if name in scope}


def main(folder: Path, packages: list[str]) -> None:
    """Run the code on batches of two sizes."""
    for name in ("lightning_tl", "keras_ref", "lightning"):
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails as if it were not installed
    code = (folder / "code.py").read_text(encoding="utf-8")
    images = np.load(folder / "images.npy")
    one, many = run(code, images[:1]), run(code, np.concatenate([images, images[:1]]))
    found = {f"{name}_one": value for name, value in one.items()}
    np.savez(folder / "answers.npz", **found, **{f"{name}_many": value for name, value in many.items()})  # type: ignore[arg-type]
    (folder / "versions.json").write_text(json.dumps({package: version(package) for package in packages}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
