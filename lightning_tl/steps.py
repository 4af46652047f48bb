"""What a classifier does with a batch: loss, metrics and predictions, exact on any number of ranks."""

from abc import abstractmethod
from typing import cast

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tl.data.dataset import PADDING
from lightning_tl.head import Dropout, weighted_loss
from lightning_tl.ranks import gather, sum_over_ranks
from lightning_tl.stage_metrics import StageMetrics

Batch = dict[str, Tensor]
"""``image`` uint8 (batch, 3, height, width), ``label`` int64 (batch,), ``index`` int64 (batch,)."""

STAGES = ("train", "val", "test")


class Steps(lightning.LightningModule):
    """Steps of training, validation, testing and prediction.

    Attributes:
        dropout: before the head.
        head: from features to logits.
        class_weights: of the training loss, (classes,).
        label_smoothing: share of the target spread over all classes, in [0, 1).
        metrics: ``StageMetrics`` of each stage, underscored.
        seed: of dropout.
        padded: whether the batch at hand may have padding; known before it is on its device, which need not be asked.
    """

    dropout: Dropout
    head: nn.Linear
    class_weights: Tensor
    label_smoothing: float
    metrics: nn.ModuleDict
    seed: int
    padded = True

    def classify(self, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Logits, (batch, classes), of features (batch, num_features); ``uniforms`` as in ``Dropout``."""
        return self.head(self.dropout(features, uniforms))  # type: ignore[no-any-return]

    @abstractmethod
    def features_of(self, stage: str, batch: Batch) -> Tensor:
        """Features, (batch, num_features), of a batch of this stage."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one augmented batch: a scalar."""
        features = self.features_of("train", batch)
        uniforms = self.dropout.draw(batch["index"], features.shape[1], self.seed, self.current_epoch)
        logits = self.classify(features, uniforms)
        keep = self._keep(batch)
        loss = self._loss(logits, batch["label"], self.class_weights, keep)
        self._log("train", logits, batch["label"], loss, keep)
        return loss if keep is None else self._share_of_global(loss, keep)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics without augmentation, dropout and class weights."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Batch:
        """``index``, ``label`` (-1 where unknown), float32 ``probabilities`` (batch, classes) and ``loss`` (batch,).

        The loss is each image's part of the validation loss; NaN where the label is unknown. On several ranks
        every rank returns the rows of all. Lightning wants ``dataloader_idx`` where there are two loaders, as after a
        fit with a test split.
        """
        logits = self(batch["image"]).float()
        label = batch["label"]
        loss = F.cross_entropy(logits, label.clamp_min(0), reduction="none", label_smoothing=self.label_smoothing)
        loss = loss.masked_fill(label < 0, torch.nan)
        rows = {"index": batch["index"], "label": label, "probabilities": logits.softmax(dim=1), "loss": loss}
        return {name: gather(self.trainer, value) for name, value in rows.items()}

    def _metrics_of(self, stage: str) -> StageMetrics:
        return cast(StageMetrics, self.metrics[f"{stage}_"])

    def _evaluate(self, stage: str, batch: Batch) -> None:
        logits = self.classify(self.features_of(stage, batch))
        keep = self._keep(batch)
        self._log(stage, logits, batch["label"], self._loss(logits, batch["label"], None, keep), keep)

    def _loss(self, logits: Tensor, labels: Tensor, class_weights: Tensor | None, keep: Tensor | None) -> Tensor:
        """Mean over the samples of this rank that count."""
        options = {} if keep is None else {"keep": keep}
        return weighted_loss(logits, labels, class_weights, self.label_smoothing, **options)

    def _keep(self, batch: Batch) -> Tensor | None:
        """Which samples count, bool (batch,); None on one rank, where nothing is padding."""
        return batch["index"] != PADDING if self._trainer is not None and self.trainer.world_size > 1 else None

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # an exchange between ranks
    def _share_of_global(self, loss: Tensor, keep: Tensor) -> Tensor:
        """Scaled so that DDP's mean over the ranks' losses is the mean over the samples of the global batch."""
        count = keep.sum().double()  # bfloat16 counts to 256
        return loss * (count * self.trainer.world_size / sum_over_ranks(count)).to(loss.dtype)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # bookkeeping has no place in a compiled step
    def _log(self, stage: str, logits: Tensor, labels: Tensor, loss: Tensor, keep: Tensor | None) -> None:
        """Log the epoch's mean loss, accuracy and macro F1 of ``stage``: exact on any number of ranks."""
        metrics = self._metrics_of(stage)
        if keep is not None and self.padded:
            logits, labels = logits[keep], labels[keep]
        metrics.update(logits, labels, loss)
        if metrics.loss.update_count > 1:  # logged; Lightning asks for the values, and resets them, at the epoch's end
            return
        for name, metric in metrics.named():
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=name.endswith(("loss", "accuracy")))
