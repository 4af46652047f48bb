"""Exported files are opened again, by their own runtime in a process of its own, and compared on real images."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.errors import printable
from lightning_tl.export.record import Check
from lightning_tl.export.tolerances import TOLERANCES, Tolerance

SECONDS = 1800
"""For one runtime to open a file and answer; a machine that is busy takes minutes to import TensorFlow."""

Answers = dict[str, NDArray[np.float32]]


class VerificationError(RuntimeError):
    """An exported file does not open or does not compute what the checkpoint does; it is not put in place."""


@dataclass(frozen=True)
class Runtime:
    """Who opens a file.

    Attributes:
        name: for people.
        packages: whose versions are told.
        environment: variables it needs.
        channels_last: whether it takes (batch, height, width, 3).
    """

    name: str
    packages: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    channels_last: bool = False


def verify(
    runtime: Runtime,
    code: str,
    kind: str,
    images: Tensor,
    names: Sequence[str],
    expected: Mapping[str, NDArray[np.float32]],
) -> list[Check]:
    """Run ``code`` in a fresh process on one image and on all and one more; compare what it computes.

    Args:
        runtime: in which.
        code: of the model card; it uses ``images`` and sets ``probabilities`` and perhaps ``logits``.
        kind: the format, or int8, for the tolerances.
        images: uint8, (images, 3, height, width).
        names: of the images.
        expected: what it should compute, (images, classes) by output.

    Raises:
        VerificationError: the process has failed, or an error is above its tolerance.
    """
    pixels = images.permute(0, 2, 3, 1) if runtime.channels_last else images
    found, told = run_reader(runtime, code, pixels.numpy())
    checks = [
        compare(told, name, TOLERANCES[kind, name], found, expected[name], names)
        for name in ("logits", "probabilities")
        if (kind, name) in TOLERANCES
    ]
    for check in checks:
        if not check.error <= check.tolerance.value:  # NaN is wrong too
            raise VerificationError(
                f"{kind}: the exported file does not compute what it should, and is not kept. By "
                f"{check.runtime} the {check.output} of {printable(repr(check.image))} are off by {check.error:.3g}; "
                f"allowed are {check.tolerance.value:.3g}: {check.tolerance.reason}."
            )
    return checks


def run_reader(runtime: Runtime, code: str, images: NDArray[np.uint8]) -> tuple[Answers, str]:
    """The answers for one image (``logits_one``) and for all and the first again (``logits_many``), and who gave them.

    Raises:
        VerificationError: the process has failed; its last words are included.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", images)
        (folder / "code.py").write_text(code, encoding="utf-8")
        # -P: modules beside the script must not shadow others
        script = Path(__file__).with_name("reader_process.py")
        command = [sys.executable, "-P", str(script), name, *runtime.packages]
        outside = {**os.environ, "KERAS_HOME": str(folder / "home"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command,
            env={**outside, "CUDA_VISIBLE_DEVICES": "", **dict(runtime.environment)},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise VerificationError(
                f"the exported file is not kept: {runtime.name} cannot run it (exit status {done.returncode}):\n"
                f"{done.stderr.strip()[-2000:]}"
            )
        versions = json.loads((folder / "versions.json").read_text())
        with np.load(folder / "answers.npz") as file:
            return dict(file), ", ".join(f"{package} {number}" for package, number in versions.items())


def compare(
    runtime: str,
    output: str,
    tolerance: Tolerance,
    found: Answers,
    expected: NDArray[np.float32],
    names: Sequence[str],
) -> Check:
    """The largest error over both batches.

    Raises:
        VerificationError: other shapes than the checkpoint's.
    """
    one, many = found[f"{output}_one"], found[f"{output}_many"]
    if one.shape != expected[:1].shape or many.shape != (len(expected) + 1, *expected.shape[1:]):
        raise VerificationError(
            f"the exported file is not kept: by {runtime} its {output} have the shapes {one.shape} and {many.shape} "
            f"for 1 and {len(expected) + 1} images of {expected.shape[1]} classes."
        )
    errors = np.abs(np.concatenate([many, one]).astype(np.float64) - np.concatenate([expected, expected[[0, 0]]]))
    worst = errors.max(axis=1)
    scale = float(np.abs(expected).max()) if output == "logits" else 1.0
    row = int(np.argmax(np.where(np.isnan(worst), np.inf, worst)))
    at = row if row < len(expected) else 0
    error = float(worst[row]) / max(scale, float(np.finfo(np.float32).tiny))
    return Check(runtime, output, len(expected), error, tolerance, names[at])
