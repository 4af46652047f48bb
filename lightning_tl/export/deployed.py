"""What is exported: the classifier as one function from pixels to logits and probabilities."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.checkpoint import CheckpointInfo
from lightning_tl.classifier import TransferClassifier


class Deployed(nn.Module):
    """Uint8 images to logits and probabilities; scaling is inside.

    Args:
        classifier: whose backbone and head it is. Nothing of it is copied.
    """

    def __init__(self, classifier: TransferClassifier) -> None:
        super().__init__()
        self.backbone, self.head = classifier.backbone, classifier.head
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities.

        Args:
            images: uint8 in [0, 255], RGB, shape (batch, 3, height, width).

        Returns:
            Logits and probabilities, float32, (batch, classes) each.
        """
        logits: Tensor = self.head(self.backbone(images))
        return logits, logits.softmax(dim=1)


def load_classifier(checkpoint: CheckpointInfo) -> TransferClassifier:
    """The model of a checkpoint as ``predict`` runs it, on the CPU; what the exported files are compared with.

    Raises:
        InputError: as ``TransferClassifier`` does, of what the checkpoint was made with.
    """
    return _load(checkpoint)


def load_plain(checkpoint: CheckpointInfo) -> TransferClassifier:
    """The same with BatchNorm as a layer of its own and channels first, which every compiler knows.

    Folding computes the same function by layer classes of ours and by writing to them in ``forward``; exporters would
    trace that, and a reader of the file would look in vain for the BatchNorm of the checkpoint. Runtimes fold by
    themselves. Raises InputError likewise.
    """
    return _load(checkpoint, fold_batchnorm=False, channels_last=False)


def _load(checkpoint: CheckpointInfo, **changes: Any) -> TransferClassifier:
    """For images of the size that it was trained on, whatever its model was made for."""
    changes |= {"image_size": checkpoint.data["image_size"], "compile": False, "augment": []}
    return TransferClassifier.load_from_checkpoint(checkpoint.path, "cpu", weights_only=True, **changes).eval()


@torch.no_grad()
def answers(classifier: TransferClassifier, images: Tensor) -> dict[str, NDArray[np.float32]]:
    """What the checkpoint says of images: float32 ``logits`` and ``probabilities``, (images, classes) each.

    Args:
        classifier: from ``load_classifier``.
        images: uint8, (images, 3, height, width).
    """
    logits = torch.cat([classifier(batch) for batch in torch.split(images, 32)])
    return {"logits": logits.numpy(), "probabilities": logits.softmax(dim=1).numpy()}
