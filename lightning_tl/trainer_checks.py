"""What a trainer cannot do beside phases, refused before training."""

from collections.abc import Sequence

import lightning
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    Callback,
    EarlyStopping,
    LearningRateFinder,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.parsing import lightning_hasattr

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase

LIGHTNING_DEFAULT_EPOCHS = 1000
"""What Trainer makes of ``max_epochs=None``; such a trainer has not been told a number."""


def check_trainer(trainer: lightning.Trainer, phases: Sequence[Phase]) -> None:
    """See that a trainer leaves the length of a run to its phases, and can do what they ask for.

    Raises:
        InputError: a ``max_epochs`` that disagrees, or ``max_steps``; another callback that freezes and unfreezes;
            weights averaged in a way that does not go with phases; a phase that is decided by a validation there is
            not.
    """
    _check_length(trainer, sum(phase.epochs for phase in phases))
    _check_finetuning(trainer)
    _check_averaging(trainer, phases)
    _check_validation(trainer, phases)
    _warn_of_stopping(trainer, phases)
    if trainer.precision == "16-true":
        rank_zero_warn(
            "trainer.precision: 16-true: Adam's squares of small gradients are 0 in float16, and training is erratic. "
            "Take 16-mixed, bf16-mixed or bf16-true."
        )


def refuse_new_statistics(trainer: lightning.Trainer) -> None:
    """Raise InputError for a callback that estimates BatchNorm's statistics anew, with phases or without."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
        raise InputError(
            "trainer.callbacks: StochasticWeightAveraging adds an epoch to estimate BatchNorm's statistics anew; "
            "here they stand still, and phases own the epochs. Take EMAWeightAveraging."
        )


def refuse_rate_of_the_model(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """Raise InputError for a search, as ``Tuner.lr_find``, that is to set a learning rate which the model has not."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    for callback in callbacks:
        if not isinstance(callback, LearningRateFinder) or not callback._update_attr:
            continue
        if not any(lightning_hasattr(module, name) for name in (callback._attr_name, "lr", "learning_rate")):
            raise InputError(
                "lr_find: learning rates are those of phases, not of the model. Search with update_attr=False, for no "
                "more steps than the first phase has, and give what is suggested to that phase: Phase(..., lr=...)."
            )


def _check_length(trainer: lightning.Trainer, epochs: int) -> None:
    """``max_epochs`` and ``max_steps``, which ``fast_dev_run`` sets by itself."""
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning at run time
        return
    if trainer.max_steps != -1:
        raise InputError(
            f"trainer.max_steps: phases last whole epochs. Received: {trainer.max_steps}; leave max_steps out and "
            "set each phase's epochs, or trainer.limit_train_batches for a short trial."
        )
    given = trainer.fit_loop.max_epochs
    if given not in (None, -1, LIGHTNING_DEFAULT_EPOCHS, epochs):
        raise InputError(
            f"trainer.max_epochs: the phases last {epochs} epochs together. Received: {given}; "
            "leave max_epochs out and set each phase's epochs."
        )


def _check_finetuning(trainer: lightning.Trainer) -> None:
    """Lightning's own callbacks for what phases do."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    for callback in callbacks:
        if isinstance(callback, BaseFinetuning):
            raise InputError(
                f"trainer.callbacks: {type(callback).__name__} would freeze and unfreeze beside the phases. Leave it "
                "out, and say by a phase's unfreeze_last what it trains."
            )


def _check_averaging(trainer: lightning.Trainer, phases: Sequence[Phase]) -> None:
    """Averages of weights that the recipe, or a phase, does not go with."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    if any(isinstance(callback, WeightAveraging) for callback in callbacks):
        for phase in phases:
            if phase.start_from == "best":
                raise InputError(
                    f"phases: {phase.name}: start_from: with weights averaged by a callback, validation judges the "
                    "averages, not the weights that train on. Received: best; leave it out, or the callback."
                )


def _check_validation(trainer: lightning.Trainer, phases: Sequence[Phase]) -> None:
    """A phase that waits for a validation, where there is none."""
    begin, every = 0, trainer.check_val_every_n_epoch or 1  # None: by steps alone
    for number, phase in enumerate(phases):
        end = begin + phase.epochs
        waits = {
            "early_stopping": phase.early_stopping is not None,
            "scheduler: plateau": phase.scheduler == "plateau",
            "start_from: best": phase.start_from == "best" and number > 0,
        }
        if not trainer.enable_validation:
            none = trainer.limit_val_batches == 0
            why = "trainer.limit_val_batches is 0" if none else "fit was given no validation loader"
        elif begin // every == end // every:
            why = f"trainer.check_val_every_n_epoch {every} has none in its epochs, {begin + 1} to {end} of the run"
            del waits["start_from: best"]  # which warns when it begins
        else:
            waits, why = {}, ""
        for argument in (name for name, given in waits.items() if given):
            raise InputError(
                f"phases: {phase.name}: {argument} goes by validation, and {why}. Leave {argument} out, or have "
                "images to validate on."
            )
        begin = end


def _warn_of_stopping(trainer: lightning.Trainer, phases: Sequence[Phase]) -> None:
    """Of a callback that ends the run in its first phase."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    if len(phases) > 1 and any(isinstance(callback, EarlyStopping) for callback in callbacks):
        rank_zero_warn(
            "trainer.callbacks: EarlyStopping ends the whole run, in whichever phase it is. A phase's early_stopping "
            "ends that phase alone."
        )
