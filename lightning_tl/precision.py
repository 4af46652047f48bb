"""Reduced precision, and what the processor makes of it."""

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_warn

BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")
"""Names in ``torch.cpu.get_capabilities`` of what computes in bfloat16: the first three on x86, the others on ARM."""


def computes_in_bfloat16(capabilities: Mapping[str, Any]) -> bool | None:
    """Whether a processor has arithmetic in bfloat16; None where it is not told.

    Args:
        capabilities: of the processor, as ``torch.cpu.get_capabilities`` names them.
    """
    units = [capabilities[name] for name in BFLOAT16_UNITS if name in capabilities]
    return any(units) if units else None


def warn_if_emulated(trainer: lightning.Trainer) -> None:
    """Say that bfloat16 will be slow, where a trainer is to compute in it on a CPU that has to imitate it.

    Measured on such an Intel Xeon, at 96 pixels: 0.47 of float32's images a second in ``head``, 0.53 in ``finetune``.

    Args:
        trainer: about to run.
    """
    asked = str(trainer.precision)
    if trainer.strategy.root_device.type != "cpu" or not asked.startswith("bf16"):
        return
    if computes_in_bfloat16(torch.cpu.get_capabilities()) is False:
        rank_zero_warn(
            f"trainer.precision: {asked} is slower than float32 here, about twice: this processor has no arithmetic "
            "in bfloat16 and imitates it. Use 32-true.",
            category=UserWarning,
        )
