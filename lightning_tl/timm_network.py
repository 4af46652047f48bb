"""timm's networks without their classifier, and our forms of its layers.

A module of its own, imported with the first such network: timm takes half a second, which others need not wait for.
"""

from typing import Any

import timm
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn

from lightning_tl.batchnorm import INFERENCE, InnerNorm
from lightning_tl.padding import SameConv2d
from lightning_tl.plainly import plainly


class InferenceBatchNormAct2d(InnerNorm, BatchNormAct2d):  # type: ignore[misc]  # timm ships no types
    """timm's BatchNorm with activation that always normalises with its moving statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``BatchNormAct2d``, or its activation alone where the convolution before has normalised."""
        if self.inside and not plainly():
            return self.act(self.drop(x))  # type: ignore[no-any-return, operator]
        return super().forward(x)  # type: ignore[no-any-return]

    def own_relu6(self) -> nn.ReLU6 | None:
        """See ``InnerNorm``."""
        return self.act if type(self.act) is nn.ReLU6 and isinstance(self.drop, nn.Identity) else None


INFERENCE[BatchNormAct2d] = InferenceBatchNormAct2d


def build_timm(name: str, size: tuple[int, int], options: dict[str, Any]) -> nn.Module:
    """A network with random weights; networks made for one image size are told ours.

    Args:
        name: one of ``timm_names()``.
        size: (height, width) of its images, in pixels.
        options: further arguments of ``timm.create_model``.

    Raises:
        TypeError, ValueError, RuntimeError: timm cannot build it so.
    """
    try:
        net = timm.create_model(name, pretrained=False, num_classes=0, img_size=size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        net = timm.create_model(name, pretrained=False, num_classes=0, **options)
    pad_without_copies(net)
    return net  # type: ignore[no-any-return]


def is_timm_name(name: str) -> bool:
    """Whether timm has a network of this name."""
    return bool(timm.is_model(name))


def timm_names() -> list[str]:
    """Of all of timm's networks."""
    return list(timm.list_models())


def pad_without_copies(net: nn.Module) -> None:
    """Turn every ``Conv2dSame`` of ``net`` into a ``SameConv2d``, in place; tensors and names stay."""
    for module in net.modules():
        if type(module) is Conv2dSame:
            module.__class__ = SameConv2d
