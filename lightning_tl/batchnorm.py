"""BatchNorm that stays in inference mode, whatever ``.train()`` is called on."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_tl.errors import InputError
from lightning_tl.plainly import plainly


class Inference(nn.Module):
    """Ignores the training mode, so the moving statistics are used and never change."""

    def train(self, mode: bool = True) -> "Inference":
        """Stay in inference mode; ``mode`` is ignored."""
        return super().train(False)

    def reset_running_stats(self) -> None:
        """Keep them: who resets them, as weight averaging does, means to estimate them anew, which is never done."""


class InnerNorm(Inference):
    """Of images, whose normalising the convolution before it may do; see ``lightning_tl.folding``.

    Attributes:
        inside: it does.
    """

    inside = False

    def own_relu6(self) -> nn.ReLU6 | None:
        """The ReLU6 that is part of the layer and all that it does after normalising."""
        return None


class InferenceBatchNorm1d(Inference, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` that always normalises with its moving statistics."""


class InferenceBatchNorm2d(InnerNorm, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that always normalises with its moving statistics."""

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.BatchNorm2d``, or nothing where the convolution before has done it."""
        return input if self.inside and not plainly() else super().forward(input)


INFERENCE: dict[type[nn.Module], type[Any]] = {
    nn.BatchNorm1d: InferenceBatchNorm1d,
    nn.BatchNorm2d: InferenceBatchNorm2d,
}
"""What each becomes; ``lightning_tl.timm_network`` adds timm's."""


def hold_statistics(net: nn.Module) -> None:
    """Turn every BatchNorm in ``net`` into its inference-mode subclass, in place; tensors and names stay.

    Raises:
        InputError: ``net`` has a BatchNorm class that cannot be held still.
    """
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, Inference):
            if type(module) not in INFERENCE:
                raise InputError(
                    f"backbone: layer {name} is a {type(module).__name__}, whose moving statistics cannot be held "
                    f"still. Known: {', '.join(cls.__name__ for cls in INFERENCE)}. Choose another backbone."
                )
            module.__class__ = INFERENCE[type(module)]
            module.train(False)
