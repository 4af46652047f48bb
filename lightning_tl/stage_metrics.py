"""Loss, accuracy and macro F1 of an epoch of training, validation or testing, exact on any number of ranks."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import cast

import lightning
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from lightning_tl.cuda_graph import by_type
from lightning_tl.ranks import gather


class BatchMean(MeanMetric):
    """The mean over the samples of all batches, and NaN if one of them was: MeanMetric would leave that batch out.

    Summed in float32 at least, whatever precision the module is put in: half ones cannot count the images of an epoch.
    """

    def _apply(self, fn: Callable[..., Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        @wraps(fn)  # by whose name torchmetrics knows what it does
        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved.to(torch.promote_types(moved.dtype, torch.float32)) if moved.is_floating_point() else moved

        return super()._apply(at_least_float32, exclude_state)

    def update(self, value: Tensor, weight: int) -> None:  # type: ignore[override]
        """Add a batch's mean, a scalar, that stands for ``weight`` samples.

        Not in place: a validation before a fit leaves sums that were made in inference mode.
        """
        self.mean_value = self.mean_value + value.to(self.mean_value.dtype) * weight
        self.weight = self.weight + weight


class MacroF1(MulticlassF1Score):
    """Macro F1 that a GPU adds up while the next step is being prepared.

    The library's own counts in bins (``torch.bincount``), and looks at every label first, and the host waits for both.
    True negatives, which F1 does not know, are not counted.

    Args:
        num_classes: of the labels.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro", validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: logits (batch, classes) and labels int64 (batch,), of which none is out of range."""
        predicted = preds.argmax(dim=1)
        right = (predicted == target).long()
        wrong = 1 - right
        # Not in place, as in BatchMean.
        self.tp = cast(Tensor, self.tp).index_add(0, target, right)
        self.fp = cast(Tensor, self.fp).index_add(0, predicted, wrong)
        self.fn = cast(Tensor, self.fn).index_add(0, target, wrong)


class StageMetrics(nn.Module):
    """What one stage adds up over an epoch.

    Args:
        stage: train, val or test; the metrics are called ``<stage>_loss``, ``<stage>_accuracy`` and ``<stage>_f1``.
        num_classes: of the labels.
    """

    def __init__(self, stage: str, num_classes: int) -> None:
        super().__init__()
        self.stage = stage
        self.loss = BatchMean()
        self.scores = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
                "f1": MacroF1(num_classes),
            },
            prefix=f"{stage}_",
            compute_groups=False,
        )

    def update(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Add a batch.

        Args:
            logits: (batch, classes).
            labels: int64 (batch,); an empty batch, which one rank may have, adds nothing.
            loss: scalar, the batch's mean.
        """
        if len(labels):
            self.scores.update(logits.detach(), labels)
            self.loss.update(loss.detach(), len(labels))

    @property
    def sums_alone(self) -> bool:
        """Whether it is all and only what it was made with, so that ``sums_of`` and ``add`` are ``update``."""
        ours = [MulticlassAccuracy, MacroF1, BatchMean]
        return type(self) is StageMetrics and [type(metric) for metric in self._in_checkpoint_order()] == ours

    def sums_of(self, logits: Tensor, labels: Tensor, loss: Tensor) -> list[Tensor]:
        """What ``update`` would add to each sum, for ``add``; the sums themselves stay what they are.

        They are not read either: a CUDA graph of this has nothing of what ``add`` and ``reset`` put others in place of.
        """
        known = [value for of in self._in_checkpoint_order() for value in (*vars(of).values(), *of._defaults.values())]
        zeros = {id(value): torch.zeros_like(value) for value in known if isinstance(value, Tensor)}
        apart = copy.deepcopy(self, zeros)
        apart.update(logits, labels, loss)
        return [value for metric in apart._in_checkpoint_order() for value in _state(metric).values()]

    def add(self, sums: Sequence[Tensor]) -> None:
        """Add what a batch has, as ``sums_of`` gives it."""
        metrics = self._in_checkpoint_order()
        before = [value for metric in metrics for value in _state(metric).values()]
        after = iter(by_type(torch._foreach_add, before, sums))
        for metric in metrics:  # past ``setattr``, which looks through parameters, buffers and modules each time
            vars(metric).update({name: next(after) for name in metric._defaults})
            vars(metric).update(_update_count=metric._update_count + 1, _computed=None)

    def reset(self) -> None:
        """Begin anew."""
        for metric in self._in_checkpoint_order():
            metric.reset()

    def named(self) -> Iterator[tuple[str, Metric]]:
        """The metrics by the names that they are logged under."""
        yield f"{self.stage}_loss", self.loss
        yield from cast(Iterator[tuple[str, Metric]], self.scores.items())

    def state_of_ranks(self, trainer: lightning.Trainer) -> list[dict[str, Tensor]]:
        """What each metric has added up so far on every rank, (ranks, ...) each, for a checkpoint."""
        return [
            {name: gather(trainer, torch.stack([value])) for name, value in _state(metric).items()}
            for metric in self._in_checkpoint_order()
        ]

    def restore(self, states: Sequence[dict[str, Tensor]], rank: int, ranks: int, device: torch.device) -> None:
        """Continue from ``state_of_ranks``; other ranks than before leave the sum of all parts to the first.

        A checkpoint that has none, as one that other code has written, lets the epoch's metrics begin anew.
        """
        if not states:
            self.reset()
            return
        for metric, state in zip(self._in_checkpoint_order(), states, strict=True):
            for name, parts in state.items():
                same = len(parts) == ranks
                part = parts[rank] if same else parts.sum(dim=0) * (rank == 0)
                setattr(metric, name, part.to(device))

    def _in_checkpoint_order(self) -> list[Metric]:
        return [*cast(Iterator[Metric], self.scores.values()), self.loss]


def _state(metric: Metric) -> dict[str, Tensor]:
    return {name: getattr(metric, name) for name in metric._defaults}
