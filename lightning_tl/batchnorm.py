"""BatchNorm that stays in inference mode, whatever ``.train()`` is called on."""

from typing import Any

from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_tl.errors import InputError
from lightning_tl.plainly import plainly


class _Inference(nn.Module):
    """Ignores the training mode, so the moving statistics are used and never change."""

    def train(self, mode: bool = True) -> "_Inference":
        """Stay in inference mode; ``mode`` is ignored."""
        return super().train(False)

    def reset_running_stats(self) -> None:
        """Keep them: who resets them, as weight averaging does, means to estimate them anew, which is never done."""


class InferenceBatchNorm1d(_Inference, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` that always normalises with its moving statistics."""


class InferenceBatchNorm2d(_Inference, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that always normalises with its moving statistics.

    Attributes:
        inside: the convolution before it does its work; see ``lightning_tl.folding``.
    """

    inside = False

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.BatchNorm2d``, or nothing where the convolution before has done it."""
        return input if self.inside and not plainly() else super().forward(input)


class InferenceBatchNormAct2d(_Inference, BatchNormAct2d):  # type: ignore[misc]  # timm ships no types
    """timm's BatchNorm with activation that always normalises with its moving statistics.

    Attributes:
        inside: the convolution before it does the normalising; see ``lightning_tl.folding``.
    """

    inside = False

    def forward(self, x: Tensor) -> Tensor:
        """As ``BatchNormAct2d``, or its activation alone where the convolution before has normalised."""
        if self.inside and not plainly():
            return self.act(self.drop(x))  # type: ignore[no-any-return, operator]
        return super().forward(x)  # type: ignore[no-any-return]


_INFERENCE: dict[type[nn.Module], type[Any]] = {
    nn.BatchNorm1d: InferenceBatchNorm1d,
    nn.BatchNorm2d: InferenceBatchNorm2d,
    BatchNormAct2d: InferenceBatchNormAct2d,
}


def hold_statistics(net: nn.Module) -> None:
    """Turn every BatchNorm in ``net`` into its inference-mode subclass, in place; tensors and names stay.

    Raises:
        InputError: ``net`` has a BatchNorm class that cannot be held still.
    """
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, _Inference):
            if type(module) not in _INFERENCE:
                raise InputError(
                    f"backbone: layer {name} is a {type(module).__name__}, whose moving statistics cannot be held "
                    f"still. Known: {', '.join(cls.__name__ for cls in _INFERENCE)}. Choose another backbone."
                )
            module.__class__ = _INFERENCE[type(module)]
            module.train(False)
