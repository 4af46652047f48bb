"""What all frameworks of a run are given: the same files, the same decoded images, the same weights."""

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.frameworks import Framework
from benchmarks.job import Job
from benchmarks.load import all_cores
from benchmarks.pictures import draw_folder
from benchmarks.resident import ENDINGS, decode_folder, find_classes
from benchmarks.settings import Settings
from benchmarks.weights import write_random

ASSETS = "LIGHTNING_TL_ASSETS"
"""Environment variable: a folder whose weights/ holds Keras' ImageNet weights."""


@dataclass(frozen=True)
class Ground:
    """Where a run finds what it needs.

    Attributes:
        settings: of the run.
        folder: temporary; decoded images lie in it.
        root: folder of class folders with JPEG files.
        classes: their names.
        weights: Keras' .h5 file.
        sources: for people: where images and weights come from.
    """

    settings: Settings
    folder: Path
    root: Path
    classes: tuple[str, ...]
    weights: Path
    sources: dict[str, str]

    def job(self, framework: Framework, **differences: object) -> Job:
        """The job of a framework; ``differences`` are those of ``Job``'s fields."""
        settings = replace(self.settings, **framework.settings)
        environment = {"KERAS_BACKEND": framework.options["backend"]} if framework.family == "keras" else {}
        cores = all_cores()
        pinned = cores[: settings.threads] if settings.threads < len(cores) else ()
        job = Job(framework, settings, self.folder, self.root, self.classes, self.weights, pinned, environment)
        return replace(job, **differences)  # type: ignore[arg-type]

    def changed(self, name: str, **settings: object) -> "Ground":
        """The same ground for other settings, decoded anew into a folder of this name."""
        new = replace(self, settings=replace(self.settings, **settings), folder=self.folder / name)  # type: ignore[arg-type]
        new.folder.mkdir(parents=True)
        decode_folder(new.root, new.folder, new.settings, repeat=True)
        return new


def prepare(
    settings: Settings, folder: Path, data: Path | None, weights: Path | None, from_files: bool = True
) -> Ground:
    """Draw or copy files, decode them, find or draw weights; all below ``folder``.

    Args:
        settings: of the run.
        folder: temporary.
        data: folder of class folders; None to draw.
        weights: Keras' .h5 file; None for that of ``ASSETS``, or random ones.
        from_files: whether the files are predicted, which takes one for each image of a round.

    Raises:
        ValueError: too few images, or no such file.
    """
    predicted = settings.batch_size * max(settings.skip + settings.steps, settings.warmup + 1)
    needed = predicted if from_files else 0
    if settings.files < needed:
        raise ValueError(f"--files: prediction reads {needed} images in a round. Received: {settings.files}.")
    held = settings.batches * settings.batch_size + settings.val_images
    if settings.files < held:
        raise ValueError(f"--files: {held} of them are decoded into memory. Received: {settings.files}.")
    path, described = _weights(folder, weights, settings)
    root = folder / "files"
    if data is None:
        draw_folder(root, settings.files, settings.seed)
    else:
        _copy(data, root, settings)
        copied = sum(1 for path in root.glob("*/*"))
        if copied < needed:
            raise ValueError(
                f"--data: prediction reads {needed} images in a round, as many of each class. Received: {data}, of "
                f"which {copied} can be taken; ask for fewer --steps, or give more images of the smallest class."
            )
    decode_folder(root, folder, settings)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sources = {
        "images": "drawn" if data is None else data.name,
        "weights": described,
        "weights_sha256": digest,
    }
    return Ground(settings, folder, root, tuple(find_classes(root)), path, sources)


def _copy(data: Path, root: Path, settings: Settings) -> None:
    """The same number of images of each class: four fifths train, in whole batches where that can be.

    A last batch that is smaller would be compiled for once more, in the middle of a measurement.
    """
    classes = find_classes(data)
    files = {name: sorted(p for p in (data / name).iterdir() if p.suffix.lower() in ENDINGS) for name in classes}
    most = min(settings.files // len(classes), *(len(found) for found in files.values())) // 5 * 5
    whole = [n for n in range(most, 0, -5) if n * len(classes) * 4 // 5 % settings.batch_size == 0]
    for name, found in files.items():
        (root / name).mkdir(parents=True)
        for path in found[: whole[0] if whole else most]:
            shutil.copy(path, root / name)


def _weights(folder: Path, weights: Path | None, settings: Settings) -> tuple[Path, str]:
    """The file and what to call it."""
    name = f"keras_mobilenet_v2_{settings.alpha}_224_no_top.h5"
    assets = os.environ.get(ASSETS)
    found = weights or (Path(assets) / "weights" / name if assets else None)
    if found is None:
        return write_random(folder / name, settings.alpha, settings.seed), "random"
    if not found.is_file():
        raise ValueError(f"--weights: a .h5 file of Keras' MobileNetV2 is needed. Received: {found}.")
    return found, found.name
