"""The recipe as a LightningModule: scaled pixels, frozen backbone, dropout, linear head."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from lightning_tl.augment import Augmentation, AugmentationPipeline, from_config
from lightning_tl.backbone import Backbone
from lightning_tl.batch_checks import BatchChecks
from lightning_tl.best_checkpoint import kept_as_best
from lightning_tl.compiled import CompiledBackbone
from lightning_tl.data.loader import attach_loader
from lightning_tl.data.module import ImageFolderDataModule, module_in_use
from lightning_tl.data.plain import plain
from lightning_tl.errors import InputError
from lightning_tl.feature_cache import FeatureCache
from lightning_tl.head import Dropout, class_weight_tensor, linear_head
from lightning_tl.memory import keep_freed_memory
from lightning_tl.optim import build_optimizer
from lightning_tl.phase import Phase
from lightning_tl.plainly import mark_up_to_date
from lightning_tl.precision import warn_if_emulated
from lightning_tl.pretrained import Convention, load_backbone
from lightning_tl.resuming import begins_inside_an_epoch
from lightning_tl.same_run import check_classes, check_network, check_run
from lightning_tl.schedule import build_scheduler
from lightning_tl.stage_metrics import StageMetrics
from lightning_tl.step_graph import StepGraph
from lightning_tl.steps import STAGES, Batch, Steps
from lightning_tl.trainer_checks import refuse_new_statistics, refuse_rate_of_the_model
from lightning_tl.values import checked_seed, image_sides, is_number

# Lightning's remarks on what is so by design (the backbone is in inference mode, the module augments), and torch's
# on Lightning's own use of it.
warnings.filterwarnings("ignore", message=r"Found .* module\(s\) in eval mode at the start of training")
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
warnings.filterwarnings("ignore", message="You have overridden `on_(before|after)_batch_transfer` in `LightningModule`")

HEAD_ONLY = Phase(name="head", epochs=1, lr=1e-3)
"""What is trained when no PhasedFinetuning callback says otherwise: the recipe's first phase."""


class _NoLongerUpToDate(Callback):
    """What ``TransferClassifier.teardown`` does, where a run fails: Lightning then calls no ``teardown``."""

    def on_exception(self, trainer: object, pl_module: object, exception: BaseException) -> None:
        """Nothing folds before each batch any more."""
        mark_up_to_date(False)


class TransferClassifier(Steps):
    """A pretrained backbone and a new linear head, trained phase by phase.

    Subclasses compute otherwise in ``classify`` or ``features_of``, or in all of the steps; hooks of Lightning's that
    they override call ``super()``, for augmentation and all that is checked and kept is in them.

    Args:
        class_names: the classes in label order; the command line takes them from the data.
        backbone: ``torchvision/mobilenet_v2`` or ``timm/<name>``.
        weights: ``imagenet``, ``none`` (random), or a .pth, .pt, .bin, .safetensors, .h5, .weights.h5 or .keras file.
        image_size: height and width of its images in pixels, or one number for both; training on others is refused.
        dropout: rate before the head, in [0, 1).
        augment: transforms of ``lightning_tl.augment``, or their configs, applied in training on the device.
        fused: consecutive geometric transforms in one resampling; ``False`` resamples one by one as Keras does.
        convention: ``keras`` or ``torch``; ``auto`` follows the weights, which a given value must not contradict.
        class_weights: weight of a class's samples in the training loss; classes not named weigh 1.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        backbone_args: further constructor arguments of the backbone, such as ``{"width_mult": 0.35}``.
        fold_batchnorm: compute BatchNorm inside the convolution before it, and frozen layers, or on one GPU all of a
            training step, as one graph where oneDNN or CUDA has one: the same features, sooner.
        channels_last: keep channels last in memory, which convolutions on every kind of device prefer. Torch's
            pruning of them, Lightning's ``ModelPruning``, needs ``False`` ("view size is not compatible" otherwise).
        cache_features: keep the features of training and validation images while a phase freezes the whole backbone,
            on the device, instead of computing them in every epoch; for ``augment`` without transforms alone.
        keep_memory: on a CPU, keep freed memory in the process for the next step; see ``keep_freed_memory``.
        compile: run the backbone through ``torch.compile``: half a minute of compilation in each phase, the first time.
        seed: of augmentation, dropout and the head's initial weights; 0 to 2**32 - 1.
        weights_record: where the weights came from; written into checkpoints, not for hand use.

    Raises:
        InputError: an argument out of range, unknown backbone, or weights that do not fit.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: str = "torchvision/mobilenet_v2",
        weights: str = "imagenet",
        image_size: int | Sequence[int] = 160,
        dropout: float = 0.2,
        augment: Sequence[Augmentation | dict[str, Any]] = (),
        fused: bool = True,
        convention: Convention = "auto",
        class_weights: dict[str, float] | None = None,
        label_smoothing: float = 0.0,
        backbone_args: dict[str, Any] | None = None,
        fold_batchnorm: bool = True,
        channels_last: bool = True,
        cache_features: bool = False,
        keep_memory: bool = True,
        compile: bool = False,
        seed: int = 0,
        weights_record: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._step_graph = StepGraph()
        if isinstance(class_names, str) or len(set(class_names)) < max(2, len(class_names)):
            received = repr(class_names) if isinstance(class_names, str) else list(class_names)
            raise InputError(f"class_names: at least two classes, each once, are needed. Received: {received}.")
        if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing: a share in [0, 1). Received: {label_smoothing!r}.")
        if not all(isinstance(name, str) for name in class_names):
            raise InputError(f"class_names: text is needed. Received: {list(class_names)}.")
        self.class_names = tuple(class_names)
        self.label_smoothing, self.seed, self.keep_memory = label_smoothing, checked_seed("seed", seed), keep_memory
        size = image_sides("image_size", image_size)
        make = partial(
            Backbone,
            backbone,
            image_size=size,
            options=backbone_args,
            fold_batchnorm=fold_batchnorm,
            channels_last=channels_last,
        )
        self.backbone, self.weights_record = load_backbone(make, backbone, weights, convention, weights_record)
        self._compiled = CompiledBackbone(self.backbone) if compile else None
        # Statistics that never change need not be sent to all ranks at every step (DDP reads this).
        buffers = [f"backbone.{name}" for name, _ in self.backbone.named_buffers()]
        self._ddp_params_and_buffers_to_ignore = [*buffers, "class_weights"]
        transforms = [item if isinstance(item, Augmentation) else from_config(item) for item in augment]
        self.augment = AugmentationPipeline(transforms, fused=fused)
        if cache_features and transforms:
            raise InputError(
                "cache_features: augmented images have other features in every epoch, so augment must be empty. "
                f"Received: {len(transforms)} transforms; leave them out, or cache_features."
            )
        self.cache_features = cache_features
        # Each numbers its images for itself.
        self._caches = {stage: FeatureCache(self._weights) for stage in ("train", "val")}
        self.dropout = Dropout(dropout)
        self.head = linear_head(self.backbone.num_features, len(self.class_names), self.seed)
        weight = class_weight_tensor(class_weights, self.class_names)
        self.register_buffer("class_weights", weight, persistent=False)
        self.class_weights: Tensor
        # Underscored, since a ModuleDict takes no key that is a method of its own, such as train.
        self.metrics = nn.ModuleDict({f"{stage}_": StageMetrics(stage, self.num_classes) for stage in STAGES})
        arguments = plain(
            {
                "class_names": list(self.class_names),
                "backbone": backbone,
                "weights": weights,
                "image_size": list(size),
                "dropout": dropout,
                "augment": [transform.to_config() for transform in transforms],
                "fused": fused,
                "convention": self.backbone.convention,
                "class_weights": class_weights,
                "label_smoothing": label_smoothing,
                "backbone_args": backbone_args,
                "fold_batchnorm": fold_batchnorm,
                "channels_last": channels_last,
                "cache_features": cache_features,
                "keep_memory": keep_memory,
                "compile": compile,
                "seed": self.seed,
                "weights_record": self.weights_record,
            }
        )
        self.save_hyperparameters(arguments)
        self.set_phase(HEAD_ONLY)
        self._restored_metrics: list[dict[str, Tensor]] = []
        self._restored_judged = True
        self._checks = BatchChecks()
        self.best_before: dict[str, int] = {}
        """What callbacks of the current fit have kept as the best of an earlier one, see ``kept_as_best``."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def knows_labels(self) -> bool:
        """Whether they are positions of classes, and checked; a subclass may have those of another kind.

        One whose labels are positions too says so by a class attribute, ``knows_labels = True``.
        """
        return type(self) is TransferClassifier

    def setup(self, stage: str) -> None:
        """See that the data's classes are the model's; where the CPU does the work, have it find its memory again.

        Every rank comes by here, so that their images are compared. Features are of the images of one fit. A fit has
        dropout, whatever was done before, ``eval()`` or ``freeze()``.

        Raises:
            InputError: an ``ImageFolderDataModule`` of other classes, or of other images on another rank; a callback
                that makes new statistics, or is to set a learning rate.
        """
        data = module_in_use(self.trainer)
        if isinstance(data, ImageFolderDataModule) and stage != "predict":
            check_classes("class_names: the model", self.class_names, data.class_names)
            data.require_same_on_all_ranks()
        self._checks.begin()
        warn_if_emulated(self.trainer)
        if stage == "fit":
            refuse_new_statistics(self.trainer)
            refuse_rate_of_the_model(self.trainer, self)
            self._warn_of_forward()
            self.best_before = kept_as_best(self.trainer)
            self.training = True
            for part in (self.backbone, self.dropout, self.head):  # not what a subclass has beside them
                part.train()
            attach_loader(self.trainer)
        self._forget_features()
        if self.keep_memory and self.trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TransferClassifier":
        """What ``to`` and its like do, as Lightning after a run that failed: elsewhere, graphs are others."""
        self._step_graph.clear()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def configure_callbacks(self) -> list[Callback]:
        """For steps that Lightning calls compiled; see ``on_after_batch_transfer``."""
        return [] if self._compiler_ctx is None else [_NoLongerUpToDate()]

    def teardown(self, stage: str) -> None:
        """Features and graphs of a run that is over are no more needed, and nothing folds before each batch."""
        mark_up_to_date(False)
        self._step_graph.clear()
        self._forget_features()

    def _warn_of_forward(self) -> None:
        """Of one that a subclass has for predictions alone, and its weights with it."""
        ours, theirs = TransferClassifier, type(self)
        if theirs.forward is not ours.forward and theirs.training_step is ours.training_step:
            rank_zero_warn(
                f"forward: {theirs.__name__} has one of its own, which predictions come from; training and validation "
                "compute classify(features_of(stage, batch)). Override classify in its place, or their steps too."
            )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, classes), of images: uint8 or float in [0, 255], shape (batch, 3, height, width)."""
        return self.classify(self._features(images))

    def features_of(self, stage: str, batch: Batch) -> Tensor:
        """Of a batch of training or validation, from the stage's cache where that holds."""
        frozen = self.phase.unfreeze_last == 0 and self._trainer is not None and self.trainer.state.fn == "fit"
        if not (self.cache_features and frozen):
            return self._features(batch["image"])
        images = batch["image"]
        with self.backbone.without_graph():
            return self._caches[stage].features(batch["index"], lambda unknown: self._features(images[unknown]))  # type: ignore[no-any-return]

    def state_of_step(self) -> tuple[list[Any], list[Any]] | None:
        """See ``Steps``; steps that others have changed, compiled ones and those on kept features are not recorded."""
        if self.cache_features or self._compiled is not None or not self.backbone.recordable or _is_changed(self):
            return None
        weights = None if self.class_weights is None else self.class_weights.data_ptr()
        metrics = self._metrics_of("train")
        return self.backbone.fold(), [
            self.dropout.rate, self.label_smoothing, weights, self.backbone.forgotten, *map(id, metrics.modules()),
        ]  # fmt: skip

    def set_phase(self, phase: Phase) -> list[str]:
        """Freeze and unfreeze as ``phase`` says and keep it for ``configure_optimizers``.

        Returns:
            The names of the backbone's trainable tensors.
        """
        self.phase = phase
        self._judged = self._plateau_metric()  # of another phase
        self._step_graph.clear()
        self._forget_features()
        self.head.requires_grad_(True)  # after ``freeze()``
        return self.backbone.unfreeze_last(phase.unfreeze_last)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """A fresh optimizer and scheduler for the current phase, over what it trains."""
        params = [parameter for parameter in self.parameters() if parameter.requires_grad]
        devices = 1 if self._trainer is None else self.trainer.world_size
        lr = self.phase.lr_on(devices)
        optimizer = build_optimizer(self.phase.optimizer, params, lr, f"phases: {self.phase.name}")
        scheduler = build_scheduler(optimizer, self.phase)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": scheduler}  # type: ignore[return-value]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """As Lightning does after an epoch; a phase's plateau is judged by new metrics alone.

        In an epoch without a validation Lightning would give the last one's again, which is no improvement. Keras
        leaves such an epoch out.
        """
        if self.phase.scheduler == "plateau" and metric is not None:
            if metric is self._judged:
                return
            self._judged = metric
        super().lr_scheduler_step(scheduler, metric)

    def _plateau_metric(self) -> Tensor | None:
        """What there is of what the phase's plateau would watch."""
        monitor = self.phase.scheduler_args.get("monitor", "val_loss")
        return None if self._trainer is None else self.trainer.callback_metrics.get(monitor)

    def on_validation_epoch_start(self) -> None:
        """Fold anew where averages have just been put in the place of weights, or weights back in theirs."""
        if any(isinstance(callback, WeightAveraging) for callback in self.trainer.callbacks):  # type: ignore[attr-defined]
            self.backbone.forget()

    on_validation_epoch_end = on_validation_epoch_start

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint brings its own weights: loading it must not look for the pretrained ones."""
        hparams = dict(checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}))
        if "augment" in hparams:  # of a subclass that has saved its own arguments
            hparams["augment"] = [
                item.to_config() if isinstance(item, Augmentation) else item for item in hparams["augment"]
            ]
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {**hparams, "weights": "none"}
        if self._trainer is not None:  # after processes that were spawned, none is
            checkpoint["judged"] = self._plateau_metric() is self._judged
            checkpoint["train_metrics"] = self._metrics_of("train").state_of_ranks(self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other classes, or of another network or run, before its tensors are compared."""
        self._restored_metrics = checkpoint.get("train_metrics", [])
        self._restored_judged = bool(checkpoint.get("judged", True))
        hparams = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
        check_classes("ckpt_path: the checkpoint", hparams.get("class_names", self.class_names), self.class_names)
        check_network(hparams, self.hparams)
        if self._trainer is not None and self.trainer.state.fn == "fit":
            self.best_before = {}  # it is that of the run which goes on
            if self.trainer.precision == "64-true":
                self.double()  # which Lightning does after the weights are loaded, and rounded
            data = module_in_use(self.trainer)
            theirs_of_data = checkpoint.get("datamodule_hyper_parameters", {})
            check_run(hparams, self.hparams, theirs_of_data, {} if data is None else data.hparams)
        if "weights_record" in hparams:
            self.weights_record = self.hparams["weights_record"] = dict(hparams["weights_record"])

    def on_train_start(self) -> None:
        """Continue the epoch's metrics where a run resumes in the middle of it, and know which a plateau has seen."""
        self._judged = self._plateau_metric()
        restored: list[dict[str, Tensor]] = self._restored_metrics
        self._restored_metrics = []
        if begins_inside_an_epoch(self.trainer):
            rank, ranks = self.trainer.global_rank, self.trainer.world_size
            self._metrics_of("train").restore(restored, rank, ranks, self.device)
            self._judged = self._judged if self._restored_judged else None

    def _features(self, images: Tensor) -> Tensor:
        """Of the backbone, compiled if asked for: (batch, num_features)."""
        return (self._compiled or self.backbone)(images)

    def _weights(self) -> Any:
        """See ``Backbone.weights``."""
        return self.backbone.weights()

    def _forget_features(self) -> None:
        for cache in self._caches.values():
            cache.clear()


def _is_changed(model: TransferClassifier) -> bool:
    """Whether a subclass, or somebody who put a part in the place of another, computes loss or metrics otherwise."""
    ours = (type(model.backbone), type(model.dropout), type(model.head)) == (Backbone, Dropout, nn.Linear)
    ours &= model._metrics_of("train").sums_alone
    names = ("features_of", "classify", "_learn", "_loss", "_features", "_update")
    kept = all(getattr(type(model), name) is getattr(TransferClassifier, name) for name in names)
    return not (ours and kept and model.__dict__.keys().isdisjoint(names))
