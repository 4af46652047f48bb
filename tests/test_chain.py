"""The frozen modules at the beginning of a network: which they are, and that they can be left out."""

import torch
from torch import Tensor, nn

from lightning_tl.chain import bypassed, frozen_chain


class Branching(nn.Module):
    """Three layers in a row, the last with a shortcut around it, and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.twice = (nn.Conv2d(3, 3, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        x = self.third(x) + x
        return self.twice(self.twice(x))  # type: ignore[no-any-return]


IMAGE = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def names(net: nn.Module) -> list[str]:
    of = {module: name for name, module in net.named_modules()}
    return [of[module] for module in frozen_chain(net, net, IMAGE)]


def test_it_is_the_outermost_modules_up_to_the_first_that_trains() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()))
    net.requires_grad_(False)
    assert names(net) == ["0", "1"]
    net[1][0].requires_grad_(True)  # type: ignore[index]
    assert names(net) == ["0"]
    net[0][0].requires_grad_(True)  # type: ignore[index]
    assert names(net) == []


def test_inside_a_module_that_trains_further_on_it_goes_as_far_as_it_can() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))).requires_grad_(False)
    net[0][2].requires_grad_(True)  # type: ignore[index]
    assert names(net) == ["0.0", "0.1"]


def test_what_is_called_twice_is_not_of_it() -> None:
    net = nn.Sequential(Branching()).requires_grad_(False)
    assert names(net) == ["0"]
    assert names(net[0]) == ["first", "second", "third"]  # a shortcut does not show here: who uses a chain proves it
    net[0].twice.requires_grad_(True)  # type: ignore[union-attr]
    assert names(net) == []  # it is not entered where one may be
    shared = nn.Conv2d(3, 3, 1)
    assert names(nn.Sequential(nn.Conv2d(3, 3, 1), shared, shared).requires_grad_(False)) == ["0"]


def test_hooks_end_it_and_those_of_others_stay() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)).requires_grad_(False)
    seen: list[Tensor] = []
    handle = net[1].register_forward_hook(lambda module, args, output: seen.append(output))
    assert names(net) == ["0"]
    assert len(seen) == 1
    assert not any(module._forward_pre_hooks for module in net.modules())
    handle.remove()
    assert names(net) == ["0", "1", "2"]
    net[2].forward = net[2].forward  # type: ignore[method-assign]  # as those do who wrap it
    assert names(net) == ["0", "1"]


def test_modules_that_give_what_they_are_given_are_followed() -> None:
    net = nn.Sequential(nn.Identity(), nn.Conv2d(3, 3, 1), nn.Dropout().eval()).requires_grad_(False)
    assert names(net) == ["0", "1", "2"]


def test_bypassed_modules_give_what_they_are_given_until_the_end() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)).requires_grad_(False)
    half = net[0](IMAGE)
    with bypassed([net[0]]):
        assert torch.equal(net(half), net[1](half))
    assert torch.equal(net(IMAGE), net[1](half))
    try:
        with bypassed(list(net)):
            raise KeyError
    except KeyError:
        assert torch.equal(net(IMAGE), net[1](half))
