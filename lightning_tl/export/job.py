"""One export: what is known before the file is written, and how each format is written, opened and compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.classifier import TransferClassifier
from lightning_tl.export import keras_file, onnx_file, pt2_file, safetensors_file
from lightning_tl.export.deployed import answers, load_classifier, load_plain
from lightning_tl.export.description import Description, describe
from lightning_tl.export.images import compared_images
from lightning_tl.export.origin import Origin
from lightning_tl.export.plain_network import plain_network
from lightning_tl.export.record import Check
from lightning_tl.export.verify import Runtime, verify


@dataclass(frozen=True)
class Job:
    """What one export works with.

    Attributes:
        kind: onnx, pt2, keras or safetensors.
        origin: of the checkpoint.
        plain: its model, from ``load_plain``.
        description: of the model.
        images: to compare on, uint8 (images, 3, height, width).
        names: of the images.
        compared: which images they are, for people.
        expected: what the checkpoint says of them, (images, classes) by output.
    """

    kind: str
    origin: Origin
    plain: TransferClassifier
    description: Description
    images: Tensor
    names: Sequence[str]
    compared: str
    expected: dict[str, NDArray[np.float32]]


def prepare(kind: str, origin: Origin, paths: Sequence[str] = (), root: str | None = None) -> Job:
    """Load the checkpoint and let it answer for the images to compare on.

    Args:
        kind: onnx, pt2, keras or safetensors.
        origin: of the checkpoint.
        paths: of images; none for those of the run.
        root: where the run's images lie now; None for where they were.

    Raises:
        InputError: the format cannot hold the model, or there are no images.
    """
    plain = load_plain(origin.checkpoint)
    if kind == "keras":
        keras_file.check_possible(plain)
    if kind == "safetensors":
        plain_network(plain)
    chosen = compared_images(origin, plain.backbone.image_size, paths, root)
    images = chosen.all()
    expected = answers(load_classifier(origin.checkpoint), images)
    return Job(kind, origin, plain, describe(origin, plain), images, chosen.names, chosen.description, expected)


def write(job: Job, path: Path) -> None:
    """Write the file; InputError where the format cannot hold the model."""
    writers = {
        "onnx": onnx_file.write,
        "pt2": pt2_file.write,
        "keras": keras_file.write,
        "safetensors": safetensors_file.write,
    }
    writers[job.kind](path, job.plain, job.description)


def code(job: Job, path: Path) -> str:
    """Python that opens ``path`` and answers for ``images`` without lightning_tl."""
    if job.kind == "safetensors":
        return safetensors_file.code(path, plain_network(job.plain), job.description)
    return {"onnx": onnx_file.code, "pt2": pt2_file.code, "keras": keras_file.code}[job.kind](path)


def runtimes(job: Job) -> tuple[Runtime, ...]:
    """Who opens the file: one, or Keras on each installed backend."""
    if job.kind == "keras":
        return keras_file.runtimes()
    if job.kind == "safetensors":
        return (safetensors_file.runtime(plain_network(job.plain)),)
    return (onnx_file.RUNTIME if job.kind == "onnx" else pt2_file.RUNTIME,)


def check(job: Job, path: Path) -> list[Check]:
    """Open the file by all of its runtimes and compare.

    Raises:
        VerificationError: one of them does not open it or computes something else.
    """
    return [
        found
        for runtime in runtimes(job)
        for found in verify(runtime, code(job, path), job.kind, job.images, job.names, job.expected)
    ]
