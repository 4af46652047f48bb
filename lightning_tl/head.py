"""The classification head and its loss: dropout, a linear layer, cross-entropy on logits."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tl import draws
from lightning_tl.cuda_graph import GraphRecorder
from lightning_tl.errors import InputError
from lightning_tl.values import is_number


class Dropout(nn.Module):
    """Inverted dropout whose mask is a pure function of (seed, epoch, sample).

    Args:
        rate: fraction of features set to zero in training, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not is_number(rate) or not 0 <= rate < 1:
            raise InputError(f"dropout: a fraction in [0, 1). Received: {rate!r}.")
        self.rate = rate
        self._recorder = GraphRecorder()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Dropout":
        """What ``to`` and its like do: elsewhere, graphs are others."""
        self._recorder.clear()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def draw(self, index: Tensor, count: int, seed: int, epoch: int) -> Tensor:
        """Uniform numbers for ``forward``, a function of the arguments alone; on CUDA by a graph.

        Args:
            index: of the samples, int64 (batch,).
            count: features a sample.
            seed: of the run.
            epoch: counted from 0 over all phases.

        Returns:
            float32 in [0, 1), (batch, count), on the device of ``index``.
        """
        key = draws.stream_key(seed, draws.DROPOUT, epoch)
        drawn = self._recorder(lambda index, keys: draws.uniforms(keys[0], index, count), [index], [key], count)
        return draws.uniforms(key, index, count) if drawn is None else drawn

    def forward(self, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Keep features where ``uniforms >= rate``, scaled by 1 / (1 - rate); identity in inference mode.

        Args:
            features: (batch, features).
            uniforms: in [0, 1), same shape; without them torch's generator draws.
        """
        if not self.training or self.rate == 0:
            return features
        if uniforms is None:
            return F.dropout(features, self.rate)
        return features * (uniforms >= self.rate).to(features.dtype) / (1 - self.rate)


def linear_head(num_features: int, num_classes: int, seed: int) -> nn.Linear:
    """A linear layer with Keras' initial weights: glorot uniform, drawn from ``seed``, and zero bias.

    The weight's shape is torch's, (num_classes, num_features).
    """
    head = nn.Linear(num_features, num_classes)
    key = draws.stream_key(seed, draws.HEAD, 0)
    limit = math.sqrt(6 / (num_features + num_classes))  # Glorot & Bengio 2010, equation 16
    with torch.no_grad():
        head.weight.copy_((2 * draws.uniforms(key, torch.arange(num_classes), num_features) - 1) * limit)
        head.bias.zero_()
    return head


def class_weight_tensor(weights: Mapping[str, float] | None, class_names: Sequence[str]) -> Tensor:
    """One weight a class, 1 where none is given; shape (num_classes,).

    Raises:
        InputError: a name that is no class, or a weight that is negative or no finite number, or none above 0.
    """
    weights = {str(name): weight for name, weight in (weights or {}).items()}  # YAML reads a class called 0 as a number
    unknown = sorted(set(weights) - set(class_names))
    if unknown:
        raise InputError(f"class_weights: no such class: {', '.join(unknown)}. Classes: {', '.join(class_names)}.")
    if not all(is_number(weight) and 0 <= weight < math.inf for weight in weights.values()):
        raise InputError(f"class_weights: finite numbers of 0 or more are needed. Received: {weights}.")
    known = torch.tensor([float(weights.get(name, 1.0)) for name in class_names])
    if not known.any():
        raise InputError(f"class_weights: all are 0, so that nothing would train. Received: {weights}.")
    return known


def weighted_loss(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    keep: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over the batch, each sample multiplied by the weight of its class.

    Divides by the number of samples as Keras does (torch's own ``weight=`` divides by the sum of weights), and
    weights the whole smoothed loss of a sample by its true class.

    Args:
        logits: (batch, classes).
        labels: int64, (batch,).
        class_weights: (classes,), or None for all ones.
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).
        keep: which samples count, bool (batch,), or None for all; the mean of none is 0.
    """
    if logits.dtype in (torch.bfloat16, torch.float16):  # whose losses would be rounded to 8 or 11 bits
        logits = logits.float()
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    if class_weights is not None:
        losses = losses * class_weights[labels]
    if keep is None:
        return losses.mean()
    return (losses * keep).sum() / keep.sum().clamp_min(1)
