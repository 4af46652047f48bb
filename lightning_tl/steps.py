"""What a classifier does with a batch, exact on any number of ranks: check, augment, loss, metrics and predictions."""

from abc import abstractmethod
from typing import Any, cast

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tl import draws, step_graph
from lightning_tl.augment import AugmentationPipeline
from lightning_tl.backbone import Backbone
from lightning_tl.batch_checks import BatchChecks
from lightning_tl.data.dataset import PADDING
from lightning_tl.head import Dropout, weighted_loss
from lightning_tl.plainly import mark_up_to_date
from lightning_tl.ranks import gather, sum_over_ranks
from lightning_tl.stage_metrics import StageMetrics
from lightning_tl.step_graph import StepGraph

Batch = dict[str, Tensor]
"""``image`` uint8 (batch, 3, height, width), ``label`` int64 (batch,), ``index`` int64 (batch,)."""

STAGES = ("train", "val", "test")


class Steps(lightning.LightningModule):
    """Steps of training, validation, testing and prediction.

    Attributes:
        backbone: from images to features.
        augment: of training images, on their device.
        dropout: before the head.
        head: from features to logits.
        class_weights: of the training loss, (classes,).
        label_smoothing: share of the target spread over all classes, in [0, 1).
        metrics: ``StageMetrics`` of each stage, underscored.
        seed: of augmentation and dropout.
        cache_features: whether features are kept from epoch to epoch, by the numbers of their images.
        padded: whether the batch at hand may have padding; known before it is on its device, which need not be asked.
    """

    backbone: Backbone
    augment: AugmentationPipeline
    dropout: Dropout
    head: nn.Linear
    class_weights: Tensor
    label_smoothing: float
    metrics: nn.ModuleDict
    seed: int
    cache_features: bool
    padded = True
    _step_graph: StepGraph
    _checks: BatchChecks

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    @abstractmethod
    def knows_labels(self) -> bool:
        """Whether labels are positions of classes, and nothing that a subclass has made of them."""

    def classify(self, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Logits, (batch, classes), of features (batch, num_features); ``uniforms`` as in ``Dropout``."""
        return self.head(self.dropout(features, uniforms))  # type: ignore[no-any-return]

    @abstractmethod
    def features_of(self, stage: str, batch: Batch) -> Tensor:
        """Features, (batch, num_features), of a batch of this stage."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one augmented batch: a scalar."""
        keep = self._keep(batch)
        recorded = self._by_a_graph(batch) if keep is None else None
        if recorded is not None:
            return recorded
        loss, logits = self._learn(batch, keep)
        self._update("train", logits, batch["label"], loss, keep)
        return loss if keep is None else self._share_of_global(loss, keep)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics without augmentation, dropout and class weights."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Batch:
        """``index``, ``label`` (-1 where unknown), float32 ``probabilities`` (batch, classes) and ``loss`` (batch,).

        The loss is each image's part of the validation loss; NaN where the label is unknown, and where a subclass has
        labels of another kind. On several ranks every rank returns the rows of all. Lightning wants ``dataloader_idx``
        where there are two loaders, as after a fit with a test split.
        """
        logits = self(batch["image"]).float()
        label = batch["label"]
        if label.ndim == 1 and not label.is_floating_point():
            loss = F.cross_entropy(logits, label.clamp_min(0), reduction="none", label_smoothing=self.label_smoothing)
            loss = loss.masked_fill(label < 0, torch.nan)
        else:
            loss = logits.new_full((len(logits),), torch.nan)
        rows = {"index": batch["index"], "label": label, "probabilities": logits.softmax(dim=1), "loss": loss}
        return {name: gather(self.trainer, value) for name, value in rows.items()}

    def on_fit_start(self) -> None:
        """Forget what steps before this run have added up: calls by hand, or a run that broke off in an epoch."""
        self._metrics_of("train").reset()

    def on_validation_start(self) -> None:
        """As at the start of a fit."""
        self._metrics_of("val").reset()

    def on_test_start(self) -> None:
        """As at the start of a fit."""
        self._metrics_of("test").reset()

    def _metrics_of(self, stage: str) -> StageMetrics:
        return cast(StageMetrics, self.metrics[f"{stage}_"])

    def on_before_batch_transfer(self, batch: Batch | Tensor, dataloader_idx: int) -> Batch | Tensor:
        """Refuse batches of loaders that give something else, and look for padding while they are on the CPU.

        Exporters and summaries of Lightning's send their example through here, too.
        """
        if self._trainer is None or isinstance(batch, Tensor):
            return batch
        numbered = not self.trainer.evaluating or self.trainer.world_size > 1 or self.cache_features
        self._checks.check(batch, numbered)
        if self.knows_labels:
            self._checks.require_classes(batch["label"], self.num_classes, known=not self.trainer.predicting)
        self.padded = self.trainer.world_size > 1 and bool((batch["index"] == PADDING).any())
        return batch

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Refuse images of another size; an epoch's metrics begin with its first batch."""
        if batch_idx == 0:  # what a checkpoint of an epoch's end has brought is of an epoch that is over
            self._metrics_of("train").reset()
        self._checks.require_dict(batch)
        self._checks.require_size(batch["image"], self.backbone.image_size)

    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Warn of images of another size, as where a checkpoint is given other settings; refuse them in a fit."""
        self._checks.require_dict(batch)
        look = self._checks.require_size if self.trainer.state.fn == "fit" else self._checks.compare_size
        look(batch["image"], self.backbone.image_size)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def on_after_batch_transfer(self, batch: Batch | Tensor, dataloader_idx: int) -> Batch | Tensor:
        """Augment training batches on the device; each sample has draws of its own."""
        if self._compiler_ctx is not None:  # compiled steps cannot look at what has changed; others do so themselves
            self.backbone.fold()
            mark_up_to_date(True)
        if self._trainer is not None and self.trainer.training and not isinstance(batch, Tensor):
            images = self.augment(batch["image"], batch["index"], self.seed, self.current_epoch)
            return {**batch, "image": images}
        return batch

    @abstractmethod
    def state_of_step(self) -> tuple[list[Any], list[Any]] | None:
        """What a step of training depends on besides its batch: see ``StepGraph``.

        Returns:
            The fingerprint and the settings; None where a step cannot be recorded.
        """

    def _by_a_graph(self, batch: Batch) -> Tensor | None:
        """As ``training_step``, on one GPU, see ``StepGraph``; None where there is no graph of it."""
        if torch.compiler.is_compiling() or not step_graph.offered(batch["image"]):
            return None
        state = self.state_of_step()
        if state is None:
            return None
        metrics = self._metrics_of("train")

        def step(image: Tensor, label: Tensor, index: Tensor, keys: Tensor) -> tuple[Tensor, ...]:
            with self.backbone.without_graph():
                loss, logits = self._learn({"image": image, "label": label, "index": index}, None, keys[0])
            return (loss, *metrics.sums_of(logits, label, loss))

        inputs = [batch[name] for name in ("image", "label", "index")]
        key = draws.stream_key(self.seed, draws.DROPOUT, self.current_epoch)
        found = self._step_graph(step, inputs, key, (self.backbone, self.dropout, self.head), *state)
        if found is None:
            return None
        loss, *sums = found
        metrics.add(sums)
        self._log("train")
        return loss

    def _learn(self, batch: Batch, keep: Tensor | None, key: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss of training, a scalar, and logits, (batch, classes); ``key`` is that of dropout, if it is known."""
        features = self.features_of("train", batch)
        index, count = batch["index"], features.shape[1]
        if key is None:
            uniforms = self.dropout.draw(index, count, self.seed, self.current_epoch)
        else:
            uniforms = draws.uniforms(key, index, count)
        logits = self.classify(features, uniforms)
        return self._loss(logits, batch["label"], self.class_weights, keep), logits

    def _evaluate(self, stage: str, batch: Batch) -> None:
        logits = self.classify(self.features_of(stage, batch))
        keep = self._keep(batch)
        self._update(stage, logits, batch["label"], self._loss(logits, batch["label"], None, keep), keep)

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
    def _update(self, stage: str, logits: Tensor, labels: Tensor, loss: Tensor, keep: Tensor | None) -> None:
        """Add a batch to the epoch's metrics of ``stage``, and log them."""
        if stage != "train" and self._trainer is not None:
            loaders = self.trainer.num_val_batches if stage == "val" else self.trainer.num_test_batches
            self._checks.require_one_loader(stage, len(loaders))
        if keep is not None and self.padded:
            logits, labels = logits[keep], labels[keep]
        self._metrics_of(stage).update(logits, labels, loss)
        self._log(stage)

    def _log(self, stage: str) -> None:
        """Log the epoch's mean loss, accuracy and macro F1 of ``stage``: exact on any number of ranks."""
        metrics = self._metrics_of(stage)
        if metrics.loss.update_count > 1:  # logged; Lightning asks for the values, and resets them, at the epoch's end
            return
        for name, metric in metrics.named():
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=name.endswith(("loss", "accuracy")))
