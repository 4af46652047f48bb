"""What a run on several devices needs to be right: strategies that phases can follow, and rates that are said aloud."""

from collections.abc import Sequence
from typing import Any, NoReturn

import lightning
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_tl.data.module import ImageFolderDataModule, module_in_use
from lightning_tl.errors import InputError
from lightning_tl.phase import Phase

DIVIDING = ("fsdp", "deepspeed", "modelparallel")
"""In the names and class paths of Lightning's strategies that divide the model over the devices."""


def check_strategy(strategy: Strategy) -> None:
    """Only strategies that keep the whole model on every device can be wrapped anew at a phase change.

    Raises:
        InputError: the strategy divides the model, or would put other layers in place of BatchNorm.
    """
    if getattr(strategy, "_layer_sync", None) is not None:
        raise InputError(
            "trainer.sync_batchnorm: BatchNorm is in inference mode in every phase, so there are no statistics to "
            "share; Lightning would put layers in its place that compute them all the same. Leave it out."
        )
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


def settle_rates(trainer: lightning.Trainer, phases: Sequence[Phase]) -> None:
    """Say which learning rates several devices train with.

    Args:
        trainer: about to fit.
        phases: all that it will go through.

    Raises:
        InputError: a phase scales its rate and the batch is fixed.
    """
    devices = trainer.world_size
    if devices == 1:
        return
    data = module_in_use(trainer)
    fixed = isinstance(data, ImageFolderDataModule) and data.options.batch_size_is == "global"
    scaled = [phase.name for phase in phases if phase.scale_lr != "none"]
    if fixed and scaled:
        raise InputError(
            f"phases: {scaled[0]}: scale_lr is for batches that grow with the devices, and data.batch_size_is global "
            "fixes them. Leave one of the two out."
        )
    rates = ", ".join(f"{p.name} {p.lr_on(devices):g} ({p.lr:g}, scale_lr {p.scale_lr})" for p in phases)
    rank_zero_info("Learning rates on %d devices: %s.", devices, rates)


def tell_kept_rate(phase: Phase, before: int | None, devices: int) -> None:
    """Warn where a phase that has begun goes on at a rate that was scaled for another number of devices.

    Args:
        phase: that goes on.
        before: devices that it had; None where the checkpoint does not tell.
        devices: that it has now.
    """
    if before is not None and phase.lr_on(before) != phase.lr_on(devices):
        rank_zero_warn(
            f"phases: {phase.name}: scale_lr: it has begun on {before} devices and keeps its rate of "
            f"{phase.lr_on(before):g}, which would be {phase.lr_on(devices):g} on the {devices} of now. Later phases "
            "have theirs scaled anew."
        )
