"""The phase callback: freezes, unfreezes and starts a fresh optimizer at each phase change.

It is a plain ``Callback`` because Lightning's ``BaseFinetuning`` adds parameters to a running optimizer, leaves
frozen BatchNorm normalising with batch statistics, and under DDP unfreezes tensors that are then never reduced.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_tl.classifier import TransferClassifier
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.errors import InputError
from lightning_tl.phase import Phase, make_phases
from lightning_tl.ranks import check_ranks_agree

LIGHTNING_DEFAULT_EPOCHS = 1000
"""What Trainer makes of ``max_epochs=None``; such a trainer has not been told a number."""

DIVIDING = ("fsdp", "deepspeed", "modelparallel")
"""In the names and class paths of Lightning's strategies that divide the model over the devices."""


class PhasedFinetuning(Callback):
    """Trains a ``TransferClassifier`` through a list of phases in one ``Trainer.fit``.

    Phases own the number of epochs: leave ``Trainer(max_epochs=-1)``, or give their sum.

    Args:
        phases: Phases, or mappings with a Phase's arguments.
        check_ranks: at the start of each phase and the end of each epoch, stop if the devices of a run no longer
            hold the same trainable weights.

    Raises:
        InputError: at construction for bad phases; at the start of ``fit`` for a ``max_epochs`` that disagrees,
            more layers than the backbone has, an optimizer or scheduler that cannot be built, a module that is
            no TransferClassifier, a strategy that shards the model, or learning rates to be scaled for a batch that
            does not grow.
        DivergenceError: in training, see ``check_ranks``.
    """

    def __init__(self, phases: Sequence[Phase | Mapping[str, Any]], check_ranks: bool = True) -> None:
        self.phases = make_phases(phases)
        self.check_ranks = check_ranks
        self.index = 0
        self.ends: list[int] = []
        self.history: list[dict[str, Any]] = []
        self._stopper: EarlyStopping | None = None
        self._best: dict[str, Any] = {}
        self._clock = 0.0
        self._trainer: lightning.Trainer | None = None

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self.phases[self.index]

    def place(self, epoch: int) -> tuple[str, int, int]:
        """Where an epoch of the run, counted from 0, lies: name of its phase, number in it from 1, its epochs."""
        index = next(i for i, end in enumerate(self.ends) if epoch < end)
        start = self.ends[index - 1] if index else 0
        return self.phases[index].name, epoch - start + 1, self.ends[index] - start

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Check everything that a later phase needs, then enter the first."""
        if stage != "fit":
            return
        if not isinstance(pl_module, TransferClassifier):
            raise InputError(f"PhasedFinetuning trains a TransferClassifier. Received: {type(pl_module).__name__}.")
        _check_strategy(trainer.strategy)
        _settle_rates(trainer, self.phases)
        self._trainer = trainer
        self._set_epochs(trainer)
        self.history, self._clock = [], 0.0  # of an earlier fit
        for phase in (*reversed(self.phases),):
            pl_module.set_phase(phase)
            pl_module.configure_optimizers()
        self._enter(pl_module, 0)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Let go of the trainer, which must not travel with the callback."""
        self._trainer = None

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Change phase where one begins. Not at the epoch's end: checkpoints of the old phase come after that."""
        assert isinstance(pl_module, TransferClassifier)
        wanted = next(i for i, end in enumerate(self.ends) if trainer.current_epoch < end)
        if wanted != self.index:
            if self.phases[wanted].start_from == "best":
                self._restore_best(pl_module)
            self._enter(pl_module, wanted)
            self._rebuild(trainer, pl_module)
        if self.check_ranks and trainer.current_epoch == (self.ends[wanted - 1] if wanted else 0):
            check_ranks_agree(trainer, pl_module)
        self._clock = time.perf_counter()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Start the clock where a run resumes in the middle of an epoch, whose start is not called again."""
        self._clock = self._clock or time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Count images."""
        self.history[self.index]["images"] += len(batch["label"]) * trainer.world_size

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock of training."""
        self._pause(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock where no validation did, and note the epoch."""
        self._pause(trainer)
        start = self.ends[self.index - 1] if self.index else 0
        self.history[self.index]["epochs"] = trainer.current_epoch + 1 - start
        if self.check_ranks:
            check_ranks_agree(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the metrics, keep the best weights, and end the phase where its early stopping says so."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, TransferClassifier)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        self.history[self.index].update(metrics)
        self._keep_best(pl_module, metrics)
        if self._stopper is not None and self._should_stop(trainer, self._stopper):
            self._end_phase(trainer)
        self._clock = time.perf_counter()

    def results(self) -> list[dict[str, Any]]:
        """One entry a phase that ran: name, epochs, last validation metrics, training images per second."""
        return _entries(self.history)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, so that checkpoints load with ``weights_only=True``."""
        if self._clock:  # in the middle of an epoch
            now = time.perf_counter()
            self.history[self.index]["seconds"] += now - self._clock
            self._clock = now
        return {
            "index": self.index,
            "ends": list(self.ends),
            "phases": [phase.to_dict() for phase in self.phases],
            "history": [dict(entry) for entry in self.history],
            "stopper": None if self._stopper is None else self._stopper.state_dict(),
            "best": dict(self._best),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue in the checkpoint's phase. Lightning calls this before it wraps the module for its devices.

        Raises:
            InputError: the checkpoint's phases up to the current one are not ours.
        """
        index = int(state_dict["index"])
        theirs = [phase["name"] for phase in state_dict["phases"][: index + 1]]
        ours = [phase.name for phase in self.phases[: index + 1]]
        if theirs != ours:
            raise InputError(
                f"phases: the checkpoint has been through {', '.join(theirs)}; the config says {', '.join(ours)}. "
                "Resume with the run's own phases."
            )
        trainer = self._trainer
        if trainer is None or not isinstance(trainer.lightning_module, TransferClassifier):
            return
        planned = list(self.ends)
        shift = 0 if index == 0 else state_dict["ends"][index - 1] - planned[index - 1]
        self.ends = [*state_dict["ends"][:index], *(end + shift for end in planned[index:])]
        self.history = [dict(entry) for entry in state_dict["history"]]
        self._enter(trainer.lightning_module, index)
        self._best = dict(state_dict["best"])
        if self._stopper is not None and state_dict["stopper"] is not None:
            self._stopper.load_state_dict(state_dict["stopper"])
        if state_dict["ends"][index] < self.ends[index] and self._stopper is not None:
            self._shorten(trainer, state_dict["ends"][index])
        trainer.fit_loop.max_epochs = self.ends[-1]

    def _set_epochs(self, trainer: lightning.Trainer) -> None:
        """Where each phase ends, in epochs of the run; the trainer follows."""
        fast = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set by Lightning at run time
        lengths = [1 if fast else phase.epochs for phase in self.phases]
        self.ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
        given = trainer.fit_loop.max_epochs
        if not fast and given not in (None, -1, LIGHTNING_DEFAULT_EPOCHS, self.ends[-1]):
            raise InputError(
                f"trainer.max_epochs: the phases last {self.ends[-1]} epochs together. Received: {given}; "
                "leave max_epochs out and set each phase's epochs."
            )
        trainer.fit_loop.max_epochs = self.ends[-1]
        if fast:  # its few batches are run once in every phase
            trainer.fit_loop.epoch_loop.max_steps *= len(self.phases)

    def _enter(self, module: TransferClassifier, index: int) -> None:
        """Make phase ``index`` current: what trains, a fresh early stopping, an empty record."""
        self.index = index
        module.set_phase(self.phase)
        self._best = {}
        options = self.phase.early_stopping
        self._stopper = None if options is None else _early_stopping(self.phase.name, options)
        for phase in self.phases[len(self.history) : index + 1]:
            self.history.append({"name": phase.name, "epochs": 0, "images": 0, "seconds": 0.0})

    def _rebuild(self, trainer: lightning.Trainer, module: TransferClassifier) -> None:
        """A fresh optimizer; under DDP also a fresh wrapper, which alone reduces what is trainable now."""
        strategy = trainer.strategy
        if isinstance(strategy, DDPStrategy):
            strategy.model = strategy._setup_model(module)
            strategy._register_ddp_hooks()
        strategy.setup_optimizers(trainer)
        # A graph compiled for the old requires_grad may stay in use (pytorch#139476).
        torch.compiler.reset()

    def _pause(self, trainer: lightning.Trainer) -> None:
        if self._clock and not trainer.sanity_checking and trainer.state.fn == "fit":
            self.history[self.index]["seconds"] += time.perf_counter() - self._clock
            self._clock = 0.0

    def _keep_best(self, module: TransferClassifier, metrics: dict[str, float]) -> None:
        """Remember what this phase trained at its lowest validation loss, if the next phase starts from there."""
        following = self.phases[self.index + 1 : self.index + 2]
        loss = metrics.get("val_loss", float("inf"))
        if following and following[0].start_from == "best" and loss < self._best.get("loss", float("inf")):
            trained = {n: p.detach().cpu().clone() for n, p in module.named_parameters() if p.requires_grad}
            self._best = {"loss": loss, "weights": trained}

    @torch.no_grad()
    def _restore_best(self, module: TransferClassifier) -> None:
        parameters = dict(module.named_parameters())
        for name, value in self._best.get("weights", {}).items():
            parameters[name].copy_(value)

    def _should_stop(self, trainer: lightning.Trainer, stopper: EarlyStopping) -> bool:
        """The decision of Lightning's EarlyStopping, the same on every rank."""
        value = trainer.callback_metrics.get(stopper.monitor)
        if value is None:
            raise InputError(
                f"phases: {self.phase.name}: early_stopping: nothing is logged as {stopper.monitor}. "
                f"Logged: {', '.join(sorted(trainer.callback_metrics))}."
            )
        stop, _ = stopper._evaluate_stopping_criteria(value.detach().cpu().squeeze())
        return trainer.strategy.reduce_boolean_decision(stop, all=False)

    def _end_phase(self, trainer: lightning.Trainer) -> None:
        """The next phase begins with the next epoch; the run gets shorter."""
        self._shorten(trainer, trainer.current_epoch + 1)

    def _shorten(self, trainer: lightning.Trainer, end: int) -> None:
        saved = self.ends[self.index] - end
        self.ends = [*self.ends[: self.index], *(later - saved for later in self.ends[self.index :])]
        trainer.fit_loop.max_epochs = self.ends[-1]


def results_from(checkpoint: Path) -> list[dict[str, Any]]:
    """``PhasedFinetuning.results()`` of the run that saved ``checkpoint``.

    With ``ddp_spawn`` the callback that has trained lived in another process.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return _entries(content["callbacks"][PhasedFinetuning.__qualname__]["history"])


def _entries(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    entries = []
    for entry in history:
        values = {key: value for key, value in entry.items() if key not in ("images", "seconds")}
        seconds = entry["seconds"]
        entries.append({**values, "images_per_second": entry["images"] / seconds if seconds else 0.0})
    return entries


def _check_strategy(strategy: Strategy) -> None:
    """Only strategies that keep the whole model on every device can be wrapped anew at a phase change."""
    whole = isinstance(strategy, (SingleDeviceStrategy, DDPStrategy)) and not isinstance(strategy, DeepSpeedStrategy)
    if not whole:
        _refuse_strategy(type(strategy).__name__)


def check_strategy_name(strategy: Any) -> None:
    """The same by the strategy's name or config, before Lightning asks for the package or the GPUs that it needs.

    Raises:
        InputError: the strategy divides the model.
    """
    name = str(getattr(strategy, "class_path", strategy))
    if any(word in name.lower() for word in DIVIDING):
        _refuse_strategy(name)


def _refuse_strategy(name: str) -> NoReturn:
    raise InputError(
        f"trainer.strategy: {name} divides the model over the devices, which a change of phase cannot follow; a model "
        "of this size fits on each. Use auto, ddp, ddp_spawn or ddp_find_unused_parameters_true."
    )


def _settle_rates(trainer: lightning.Trainer, phases: Sequence[Phase]) -> None:
    """Say which learning rates several devices train with; refuse to scale them where the batch is fixed."""
    devices = trainer.world_size
    if devices == 1:
        return
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning at run time
    fixed = isinstance(data, ImageFolderDataModule) and data.options.batch_size_is == "global"
    scaled = [phase.name for phase in phases if phase.scale_lr != "none"]
    if fixed and scaled:
        raise InputError(
            f"phases: {scaled[0]}: scale_lr is for batches that grow with the devices, and data.batch_size_is global "
            "fixes them. Leave one of the two out."
        )
    rates = ", ".join(f"{p.name} {p.lr_on(devices):g} ({p.lr:g}, scale_lr {p.scale_lr})" for p in phases)
    rank_zero_info("Learning rates on %d devices: %s.", devices, rates)


def _early_stopping(phase: str, options: Mapping[str, Any]) -> EarlyStopping:
    try:
        return EarlyStopping(**{"monitor": "val_loss", **options})
    except (TypeError, MisconfigurationException) as error:
        raise InputError(
            f"phases: {phase}: early_stopping takes the arguments of Lightning's EarlyStopping. "
            f"Received: {dict(options)} ({error})."
        ) from error
