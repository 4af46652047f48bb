"""What the batches of a run must be: told once, at the first that is something else."""

from collections.abc import Set
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_tl.errors import InputError
from lightning_tl.values import pixels

NORMALISED = 10.0
"""Above what normalisation makes of white (ImageNet's: 2.64), below the lightest pixel of a batch of photographs."""

EVALUATES = {"val": "trainer.validate", "test": "trainer.test"}


class BatchChecks:
    """Of one model; ``begin`` with each run."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Look at everything again."""
        self._pixels_seen = self._warned_of_size = False

    def check(self, batch: Any, numbered: bool) -> None:
        """See that loaders give what the model takes; of the pixels only the first batch's are looked at.

        Args:
            batch: of a loader, where that has put it.
            numbered: whether ``index`` is needed.

        Raises:
            InputError: no dict of ``image``, ``label`` and ``index``, or pixels in [0, 1] or normalised, which would
                pass for black.
        """
        self.require_dict(batch, {"image", "label", "index"} if numbered else {"image", "label"})
        images = batch["image"]
        if not self._pixels_seen and images.is_floating_point() and images.numel():
            lowest, highest = (float(value) for value in images.aminmax())
            if 0 < highest <= 1 or (lowest < 0 and highest < NORMALISED):
                raise InputError(
                    f"image: pixels in [0, 255] are needed, best as uint8: the model scales them itself. Received: "
                    f"{images.dtype} of {lowest:.3g} to {highest:.3g} in the first batch; torchvision's "
                    "v2.PILToTensor gives uint8, ToTensor and scale=True [0, 1], and Normalize is to be left out."
                )
        self._pixels_seen = True

    def require_dict(self, batch: Any, wanted: Set[str] = frozenset({"image", "label"})) -> None:
        """Raise InputError where a loader gives something else than a dict of these."""
        if not isinstance(batch, dict) or not wanted <= batch.keys():
            known = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise InputError(
                "batch: loaders give a dict of image (uint8, batch x 3 x height x width), label (int64) and index "
                f"(int64, the image's number in its split). Received: {known}."
            )

    def require_classes(self, labels: Any, classes: int, known: bool) -> None:
        """See that labels are of classes that there are: a GPU would end in an assertion that names nothing.

        Args:
            labels: of a batch, where a loader has put them; on a GPU, which would be waited for, not looked at.
            classes: of the model.
            known: whether all are; in prediction those that are not are below 0.

        Raises:
            InputError: they are no positions of classes, int64 (batch,).
        """
        dtype, shape = getattr(labels, "dtype", type(labels).__name__), tuple(getattr(labels, "shape", ()))
        if not isinstance(labels, Tensor) or (known and (dtype != torch.int64 or len(shape) != 1)):
            raise InputError(f"label: positions of classes, int64 (batch,), are needed. Received: {dtype} {shape}.")
        if labels.device.type != "cpu" or not labels.numel():
            return
        lowest, highest = (value.item() for value in labels.aminmax())
        allowed = f"label: positions of the model's {classes} classes, 0 to {classes - 1}, are needed. Received: "
        if highest >= classes:
            raise InputError(f"{allowed}{highest}; give TransferClassifier the class_names of all labels.")
        if known and lowest < 0:
            raise InputError(f"{allowed}{lowest}; images of no class have no place in training and evaluation.")

    def require_one_loader(self, stage: str, loaders: int) -> None:
        """Raise InputError where the metrics of ``stage`` would be those of the first of several loaders alone."""
        if loaders > 1:
            raise InputError(
                f"{stage}: the model's step keeps the metrics of one loader. Received: {loaders} loaders; give them to "
                f"a step of your own, which calls the model and logs, or to {EVALUATES[stage]} one after the other."
            )

    def require_size(self, images: Tensor, size: tuple[int, int]) -> None:
        """Raise InputError for images of another size than checkpoints and exports will tell of."""
        if tuple(images.shape[-2:]) != size:
            raise InputError(
                f"image_size: the model is for images of {pixels(size)} pixels, and those of this batch have "
                f"{pixels(images.shape[-2:])}. Give TransferClassifier and the data the same image_size."
            )

    def compare_size(self, images: Tensor, size: tuple[int, int]) -> None:
        """Warn, once a run, of images of another size than the model was made for, on which it may do otherwise."""
        if tuple(images.shape[-2:]) != size and not self._warned_of_size:
            self._warned_of_size = True
            rank_zero_warn(
                f"image_size: the model was made for images of {pixels(size)} pixels, and these have "
                f"{pixels(images.shape[-2:])}, on which it may do better or worse."
            )
