"""Convolutions in oneDNN's layout compute what torch's do."""

import pytest
import torch
import torch.nn.functional as F
from graphed import needs_bfloat16

from lightning_tl.blocked import conv2d_blocked, to_blocked, to_plain

EPSILON = {torch.float32: 5e-6, torch.bfloat16: 2**-7}
"""Of the largest value: float32 sums of 108 products lose some in any order; bfloat16 has 8 bits."""


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize(
    ("groups", "kernel", "stride", "padding"), [(1, 1, 1, 0), (12, 3, 1, 1), (12, 4, 2, 1), (1, 3, 2, 0)]
)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values(
    dtype: torch.dtype,
    rectified: bool,
    groups: int,
    kernel: int,
    stride: int,
    padding: int,
    memory_format: torch.memory_format,
) -> None:
    """12 channels do not fill a block, so that what fills it up must stay out of the sums."""
    generator = torch.Generator().manual_seed(0)
    image = (torch.randn(2, 12, 9, 10, generator=generator) * 4).to(dtype, memory_format=memory_format)
    weight = torch.randn(12, 12 // groups, kernel, kernel, generator=generator).to(dtype, memory_format=memory_format)
    bias = torch.randn(12, generator=generator).to(dtype)
    arguments = ((stride, stride), (padding, padding), (1, 1), groups)
    wanted = F.conv2d(image.double(), weight.double(), bias.double(), *arguments)
    wanted = F.relu6(wanted) if rectified else wanted
    got = conv2d_blocked(to_blocked(image, dtype), weight, bias, *arguments, rectified)
    assert got.is_mkldnn
    plain = to_plain(got)
    assert plain.dtype == dtype
    assert plain.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain.double(), wanted, rtol=0, atol=EPSILON[dtype] * float(wanted.abs().max()))


def test_there_and_back() -> None:
    image = torch.randn(2, 5, 7, 3)
    assert torch.equal(to_plain(to_blocked(image, torch.float32)), image)
    assert torch.equal(to_plain(to_blocked(image, torch.bfloat16)), image.bfloat16())
    blocked = to_blocked(image, torch.float32)
    assert to_blocked(blocked, torch.float32) is blocked
    assert to_plain(image) is image
