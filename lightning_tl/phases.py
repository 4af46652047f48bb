"""The phase callback: freezes, unfreezes and starts a fresh optimizer at each phase change.

It is a plain ``Callback`` because Lightning's ``BaseFinetuning`` adds parameters to a running optimizer, leaves
frozen BatchNorm normalising with batch statistics, and under DDP unfreezes tensors that are then never reduced.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from lightning_tl import recorder
from lightning_tl.best_weights import BestWeights
from lightning_tl.classifier import TransferClassifier
from lightning_tl.devices import check_strategy, settle_rates, tell_kept_rate
from lightning_tl.errors import InputError
from lightning_tl.phase import Phase, make_phases
from lightning_tl.plan import Plan
from lightning_tl.ranks import check_ranks_agree
from lightning_tl.recorder import Recorder
from lightning_tl.resuming import begins_inside_an_epoch, skips_the_start_of_an_epoch
from lightning_tl.stopping import PhaseStopping, check_monitors
from lightning_tl.trainer_checks import check_trainer


class PhasedFinetuning(Callback):
    """Trains a ``TransferClassifier`` through a list of phases in one ``Trainer.fit``.

    Phases own the number of epochs: leave ``Trainer(max_epochs=-1)``, or give their sum. In a fit it goes before the
    trainer's other callbacks.

    Args:
        phases: Phases, or mappings with a Phase's arguments.
        check_ranks: at the start of each phase and the end of each epoch, stop if the devices of a run no longer
            hold the same trainable weights.

    Raises:
        InputError: at construction for bad phases; at the start of ``fit`` for a trainer that does not go with them
            (``trainer_checks.check_trainer``), more layers than the backbone has, an optimizer or scheduler that cannot
            be built, a module that is no TransferClassifier, a strategy that shards the model, learning rates to be
            scaled for a batch that does not grow, or a checkpoint of other phases than these.
        DivergenceError: in training, see ``check_ranks``.
    """

    def __init__(self, phases: Sequence[Phase | Mapping[str, Any]], check_ranks: bool = True) -> None:
        self.phases = make_phases(phases)
        self.check_ranks = check_ranks
        self.index = 0
        self.plan = Plan([phase.epochs for phase in self.phases])
        self.recorder = Recorder()
        stoppings = [PhaseStopping(phase) for phase in self.phases]  # bad arguments do not wait for their phase's turn
        self._stopping = stoppings[0]
        self._best = BestWeights(False)
        self._clock = _StartsTheClock(self)
        self._trainer: lightning.Trainer | None = None
        self._given: int | None = None
        self._devices: int | None = None
        self._monitors_checked = False

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self.phases[self.index]

    def place(self, epoch: int) -> tuple[str, int, int]:
        """Where an epoch of the run, counted from 0, lies: name of its phase, number in it from 1, its epochs.

        Raises:
            InputError: it is behind the last.
        """
        index = self.plan.phase_at(epoch)
        return self.phases[index].name, epoch - self.plan.start(index) + 1, self.plan.length(index)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Check everything that a later phase needs, then enter the first."""
        if stage != "fit":
            return
        if not isinstance(pl_module, TransferClassifier):
            raise InputError(f"PhasedFinetuning trains a TransferClassifier. Received: {type(pl_module).__name__}.")
        check_strategy(trainer.strategy)
        check_trainer(trainer, self.phases)
        settle_rates(trainer, self.phases)
        self._trainer = trainer
        _put_around(trainer, self, self._clock)
        trainer.fit_loop.epoch_progress.reset()  # a trainer that has fitted before would begin where that ended
        self._set_epochs(trainer)
        self.recorder = Recorder()  # an earlier fit had its own
        self._monitors_checked = False
        for phase in reversed(self.phases):
            pl_module.set_phase(phase)
            pl_module.configure_optimizers()
        self._enter(pl_module, 0)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Let go of the trainer, which must not travel with the callback, and which had been told its own epochs."""
        if self._trainer is not None:
            trainer.fit_loop.max_epochs = self._given
            trainer.callbacks = [each for each in trainer.callbacks if each is not self._clock]  # type: ignore[attr-defined]
        self._trainer = None

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """The same where a fit fails: Lightning then calls no ``teardown``."""
        self.teardown(trainer, pl_module, "fit")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Where a run resumes, an epoch belongs to the phase in which it began, however few that is to have now."""
        if begins_inside_an_epoch(trainer):
            self._end_not_before(trainer, trainer.current_epoch + 1)
        if skips_the_start_of_an_epoch(trainer):
            self.recorder.note(epochs=trainer.current_epoch - self.plan.start(self.index))
            if trainer.current_epoch < self.plan.epochs:
                self._change(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Change phase where one begins. Not at the epoch's end: checkpoints of the old phase come after that."""
        self._change(trainer, pl_module)
        if self.check_ranks and trainer.current_epoch == self.plan.start(self.index):
            check_ranks_agree(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Start the clock where a run resumes in the middle of an epoch, whose start is not called again."""
        self.recorder.keep_running()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Count images."""
        self.recorder.count(len(batch["label"]) * trainer.world_size)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock of training."""
        if _validates_a_fit(trainer):
            self.recorder.pause()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock where no validation did, and note the epoch."""
        self.recorder.pause()
        self.recorder.note(epochs=trainer.current_epoch + 1 - self.plan.start(self.index))
        if self.check_ranks:
            check_ranks_agree(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the metrics, keep the best weights, and end the phase where its early stopping says so."""
        if not _validates_a_fit(trainer):
            return
        assert isinstance(pl_module, TransferClassifier)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        self.recorder.note(**metrics)
        self._best.keep(pl_module, metrics.get("val_loss", float("inf")))
        if not self._monitors_checked:  # all at the first validation: a wrong name is not to show after hours
            self._monitors_checked = True
            check_monitors(self.phases, trainer.callback_metrics)
        if self._stopping.should_stop(trainer):  # the next phase begins with the next epoch; the run gets shorter
            self.plan.end_phase(self.index, trainer.current_epoch + 1)
            trainer.fit_loop.max_epochs = self.plan.epochs

    def results(self) -> list[dict[str, Any]]:
        """One entry a phase that ran: name, epochs, last validation metrics, training images per second."""
        return recorder.results(self.recorder.history)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, so that checkpoints load with ``weights_only=True``."""
        return {
            "index": self.index,
            "ends": list(self.plan.ends),
            "phases": [phase.to_dict() for phase in self.phases],
            "devices": self._devices,
            "history": self.recorder.state(),
            "stopper": self._stopping.state_dict(),
            "best": self._best.state_dict(),
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to go on where no phases have been: rate and optimizer would be that training's, without a word.

        Raises:
            InputError: the checkpoint has no phases in it.
        """
        if trainer.state.fn == "fit" and self.state_key not in checkpoint["callbacks"]:
            raise InputError(
                f"ckpt_path: the checkpoint was written by a training without {self.state_key}, whose optimizer and "
                "epochs are those of none of these phases. Take its weights, "
                "TransferClassifier.load_from_checkpoint(...), and begin a fit without ckpt_path."
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue in the checkpoint's phase. Lightning calls this before it wraps the module for its devices.

        Raises:
            InputError: the checkpoint's phases up to the current one are not ours, its optimizer and scheduler are of
                other settings than the current one's, or the next is to start from best weights that were not kept.
        """
        index = int(state_dict["index"])
        theirs = [phase["name"] for phase in state_dict["phases"][: index + 1]]
        ours = [phase.name for phase in self.phases[: index + 1]]
        if theirs != ours:
            raise InputError(
                f"phases: the checkpoint has been through {', '.join(theirs)}; the config says {', '.join(ours)}. "
                "Resume with the run's own phases."
            )
        self.phases[index].check_continues(state_dict["phases"][index])
        self._check_best_kept(index, state_dict)
        trainer = self._trainer
        if trainer is None or not isinstance(trainer.lightning_module, TransferClassifier):
            return
        tell_kept_rate(self.phases[index], state_dict.get("devices"), trainer.world_size)
        self.plan.resume(index, state_dict["ends"])
        self.recorder.history = [dict(entry) for entry in state_dict["history"]]
        self._enter(trainer.lightning_module, index)
        self._best.load_state_dict(state_dict["best"])
        self._devices = state_dict.get("devices")
        if self.phase.watches_as(state_dict["phases"][index]):
            self._stopping.load_state_dict(state_dict["stopper"])
        end, planned = state_dict["ends"][index], self.plan.start(index) + int(state_dict["phases"][index]["epochs"])
        if end < planned and self._stopping.stops:  # by its own config, whatever ours has made of its epochs
            self.plan.end_phase(index, end)
        self._end_not_before(trainer, self.plan.start(index) + int(state_dict["history"][index]["epochs"]))

    def _check_best_kept(self, index: int, state: dict[str, Any]) -> None:
        """See that the next phase can start from the best weights of phase ``index``, if it is to."""
        following = self.phases[index + 1 : index + 2]
        begun = state["history"][index : index + 1]  # nothing, where no fit has been
        validated = any(math.isfinite(entry.get("val_loss", math.nan)) for entry in begun)
        if following and following[0].start_from == "best" and validated and not state["best"]:
            raise InputError(
                f"phases: {following[0].name}: start_from: best: the checkpoint has not kept the best weights of "
                f"{self.phases[index].name}, as no phase was to start from them when it began. Resume with start_from: "
                "last, or begin a fit with the weights of checkpoints/best.ckpt."
            )

    def _end_not_before(self, trainer: lightning.Trainer, epoch: int) -> None:
        """The current phase has lasted until ``epoch`` already, however short it is to be now; the trainer follows."""
        if self.plan.ends[self.index] < epoch:
            self.plan.end_phase(self.index, epoch)
        trainer.fit_loop.max_epochs = self.plan.epochs

    def _change(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Enter the phase of the current epoch, if that is another."""
        assert isinstance(module, TransferClassifier)
        wanted = self.plan.phase_at(trainer.current_epoch)
        if wanted == self.index:
            return
        if self.phases[wanted].start_from == "best" and not self._best.restore(module):
            warnings.warn(
                f"phases: {self.phases[wanted].name}: start_from: best: {self.phase.name} has had no validation, so it "
                "starts from the last weights.",
                stacklevel=2,
            )
        self._enter(module, wanted)
        self._rebuild(trainer, module)

    def _set_epochs(self, trainer: lightning.Trainer) -> None:
        """Where each phase ends, in epochs of the run; the trainer follows."""
        fast = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set by Lightning at run time
        lengths = [1 if fast else phase.epochs for phase in self.phases]
        self.plan = Plan(lengths)
        self._given = trainer.fit_loop.max_epochs
        trainer.fit_loop.max_epochs = self.plan.epochs
        if fast:  # its few batches are run once in every phase
            trainer.fit_loop.epoch_loop.max_steps *= len(self.phases)

    def _enter(self, module: TransferClassifier, index: int) -> None:
        """Make phase ``index`` current: what trains, a fresh early stopping, an empty record."""
        self.index = index
        self._devices = None if self._trainer is None else self._trainer.world_size
        module.set_phase(self.phase)
        following = self.phases[index + 1 : index + 2]
        self._best = BestWeights(bool(following) and following[0].start_from == "best")
        self._stopping = PhaseStopping(self.phase)
        self.recorder.enter(self.phases[: index + 1])

    def _rebuild(self, trainer: lightning.Trainer, module: TransferClassifier) -> None:
        """A fresh optimizer; under DDP also a fresh wrapper, which alone reduces what is trainable now."""
        strategy = trainer.strategy
        if isinstance(strategy, DDPStrategy):
            strategy.model = module  # so that the old wrapper's hooks are gone before the new one's come
            strategy.model = strategy._setup_model(module)
            strategy._register_ddp_hooks()
        strategy.setup_optimizers(trainer)
        # A graph compiled for the old requires_grad may stay in use (pytorch#139476).
        torch.compiler.reset()


class _StartsTheClock(Callback):
    """Last of a trainer's callbacks: where another has just written a checkpoint, that was no training.

    What is written in the middle of an epoch, without a validation, is in its seconds.
    """

    def __init__(self, phases: PhasedFinetuning) -> None:
        self._phases = phases

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The epoch's images begin to be loaded."""
        self._phases.recorder.start()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """So they do again."""
        if _validates_a_fit(trainer):
            self._phases.recorder.start()


def _validates_a_fit(trainer: lightning.Trainer) -> bool:
    """Whether a validation belongs to a fit, and is not the check before it."""
    return not trainer.sanity_checking and trainer.state.fn == "fit"


def _put_around(trainer: lightning.Trainer, first: Callback, last: Callback) -> None:
    """Others, such as ``LearningRateMonitor``, are to see a phase's own optimizer from its first epoch on.

    The list is another one, as Lightning is walking through the trainer's at this moment.
    """
    known: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    others = [each for each in known if each not in (first, last)]
    trainer.callbacks = [first, *others, last]  # type: ignore[attr-defined]


def results_from(checkpoint: Path) -> list[dict[str, Any]]:
    """``PhasedFinetuning.results()`` of the run that saved ``checkpoint``.

    With ``ddp_spawn`` the callback that has trained lived in another process.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return recorder.results(content["callbacks"][PhasedFinetuning.__qualname__]["history"])
