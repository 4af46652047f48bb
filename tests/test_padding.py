"""TensorFlow's padding without a padded copy computes what timm's computes with one."""

import pytest
import torch
from timm.layers import Conv2dSame
from timm.layers.conv2d_same import conv2d_same
from timm.layers.padding import get_same_padding
from torch import nn

from lightning_tl import padding
from lightning_tl.backbone import Backbone
from lightning_tl.padding import SameConv2d, pad_copy, same_conv2d, same_padding
from lightning_tl.timm_network import pad_without_copies


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (7, 12), (1, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (3, 1), (5, 2), (2, 2), (4, 3), (1, 2)])
@pytest.mark.parametrize("groups", [6, 2, 1])
def test_values_and_gradients_are_timms(size: tuple[int, int], kernel: int, stride: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(2, 6, *size, **draw).requires_grad_()  # type: ignore[call-overload]
    weight = torch.randn(6, 6 // groups, kernel, kernel, **draw).requires_grad_()  # type: ignore[call-overload]
    bias = torch.randn(6, **draw)  # type: ignore[call-overload]
    ours = same_conv2d(x, weight, bias, (stride, stride), (1, 1), groups)
    theirs = conv2d_same(x, weight, bias, (stride, stride), (0, 0), (1, 1), groups)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    signs = torch.randn(ours.shape, **draw)  # type: ignore[call-overload]
    for mine, timms in zip(
        torch.autograd.grad((ours * signs).sum(), (x, weight)),
        torch.autograd.grad((theirs * signs).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, timms, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_so_many_pixels_as_timm_counts(kernel: int, stride: int) -> None:
    for dilation in (1, 2):
        for size in range(1, 14):
            x, weight = torch.empty(1, 1, size, 7), torch.empty(1, 1, kernel, 3)
            theirs = get_same_padding(size, kernel, stride, dilation), get_same_padding(7, 3, 1, 2)
            assert same_padding(x, weight, (stride, 1), (dilation, 2)) == theirs


def test_dilated_convolutions_pad() -> None:
    x, weight = torch.randn(1, 4, 9, 10), torch.randn(4, 1, 3, 3)
    ours = same_conv2d(x, weight, None, (2, 2), (2, 2), 4)
    torch.testing.assert_close(ours, conv2d_same(x, weight, None, (2, 2), (0, 0), (2, 2), 4))


def test_no_network_pads_a_copy_for_a_depthwise_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a first convolution, of three channels, does; torchvision's is in oneDNN's layout, in which none can."""
    padded: list[int] = []

    def noted(x: torch.Tensor, down: int, across: int) -> torch.Tensor:
        padded.append(x.shape[1])
        return pad_copy(x, down, across)

    monkeypatch.setattr(padding, "pad_copy", noted)
    for name, channels in (("torchvision/mobilenet_v2", []), ("timm/mobilenetv2_035", [3])):
        backbone = Backbone(name, "keras", image_size=(32, 32))
        padded.clear()
        with torch.no_grad():
            backbone(torch.zeros(1, 3, 32, 32))
        assert padded == channels, name


def test_timms_layers_are_taken_over_as_they_are() -> None:
    net = nn.Sequential(Conv2dSame(4, 4, 3, 2, groups=4), nn.Conv2d(4, 4, 3))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    pad_without_copies(net)
    assert type(net[0]) is SameConv2d
    assert type(net[1]) is nn.Conv2d
    torch.testing.assert_close(dict(net.state_dict()), state, rtol=0, atol=0)
