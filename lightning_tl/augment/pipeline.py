"""A list of augmentations applied to a batch, with draws that depend on the sample alone."""

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from lightning_tl import draws
from lightning_tl.augment.base import Augmentation, Geometric, Params, arguments_of, as_float, as_type
from lightning_tl.augment.random_flip import RandomFlip
from lightning_tl.augment.resample import compose, resample
from lightning_tl.cuda_graph import GraphRecorder
from lightning_tl.errors import InputError

Drawn = tuple[Augmentation, Params]

OURS = "lightning_tl.augment."
"""Modules whose transforms are functions of images and draws alone."""


class AugmentationPipeline(nn.Module):
    """Applies augmentations one after the other, with one resampling for neighbours that move pixels.

    Args:
        transforms: in the order of their application.
        fused: compose the matrices of consecutive geometric transforms that have the same fill mode, fill
            value and interpolation, and resample once. False resamples for each transform, as Keras does;
            away from the border that is the same picture, blurred a little more.

    Raises:
        InputError: an element is no ``Augmentation``, or does not say how many draws it needs.
    """

    def __init__(self, transforms: Sequence[Augmentation], fused: bool = True) -> None:
        super().__init__()
        for position, transform in enumerate(transforms):
            if not isinstance(transform, Augmentation):
                raise InputError(
                    f"augment: element {position} must be an augmentation of lightning_tl.augment. "
                    f"Received: {type(transform).__name__}."
                )
            if not hasattr(transform, "draws"):
                raise InputError(
                    f"augment: {type(transform).__name__} must define draws, how many uniform numbers a sample uses, "
                    "as lightning_tl.augment.Augmentation says."
                )
        self.transforms = nn.ModuleList(transforms)
        self.fused = fused
        self._recorder = GraphRecorder()

    def draw(self, index: Tensor, seed: int, epoch: int, dtype: torch.dtype = torch.float32) -> list[Params]:
        """The parameters of every transform for these samples: a function of the arguments alone.

        Args:
            index: of the samples, int64, shape (batch,).
            seed: of the run.
            epoch: counted from 0 over all phases.
            dtype: of the uniform numbers; they are the same numbers in float32 and float64.

        Returns:
            One dict for each transform, on the device of ``index``.
        """
        return self._draw(index, self._keys(seed, epoch), dtype)

    def apply(  # type: ignore[override]  # Module.apply visits submodules; here the name is draw's counterpart
        self, images: Tensor, params: Sequence[Params] | None = None
    ) -> Tensor:
        """Transform a batch with given parameters.

        Args:
            images: uint8 or float in [0, 255], shape (batch, 3, height, width); or, alone, a function, which is called
                with each submodule and then with this one, as ``nn.Module.apply`` of a module around it asks for.
            params: one dict for each transform, as ``draw`` returns them.

        Returns:
            float32 (float64 for float64 images) in [0, 255], same shape, never rounded in between.

        Raises:
            InputError: not as many dicts as transforms.
        """
        if callable(images):
            for transform in self.transforms:
                nn.Module.apply(transform, images)
            images(self.transforms)
            images(self)
            return self  # type: ignore[return-value]
        params = params or ()
        if len(params) != len(self.transforms):
            raise InputError(
                f"params must hold one dict for each of the {len(self.transforms)} transforms. Received: {len(params)}."
            )
        for group in self._groups(list(zip(self._augmentations(), params, strict=True))):
            images = _apply_group(images, group)
        return as_float(images)

    def forward(self, images: Tensor, index: Tensor, seed: int, epoch: int) -> Tensor:
        """Draw and apply.

        Args:
            images: uint8 or float in [0, 255], (batch, 3, height, width).
            index: int64 (batch,), each image's own, on the device of ``images``.
            seed: of the run.
            epoch: counted from 0 over all phases.

        Returns:
            Float images in [0, 255] of the same shape.
        """
        recorded = self._by_a_graph(images, index, seed, epoch) if images.is_cuda else None
        if recorded is not None:
            return recorded
        return self.apply(images, self.draw(index, seed, epoch, _type_of_draws(images)))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AugmentationPipeline":
        """What ``to`` and its like do: elsewhere, graphs are others."""
        self._recorder.clear()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _by_a_graph(self, images: Tensor, index: Tensor, seed: int, epoch: int) -> Tensor | None:
        """See ``forward``; None where there can be no graph: others' code may do in Python what no graph repeats."""
        transforms = self._augmentations()
        ours = all(type(transform).__module__.startswith(OURS) for transform in transforms)
        if not transforms or not ours or type(self) is not AugmentationPipeline:
            return None

        def augment(images: Tensor, index: Tensor, keys: Tensor) -> Tensor:
            return self.apply(images, self._draw(index, keys, _type_of_draws(images)))

        case = (self.fused, *((type(transform), *_arguments(transform)) for transform in transforms))
        return cast(Tensor | None, self._recorder(augment, (images, index), self._keys(seed, epoch), case))

    def _keys(self, seed: int, epoch: int) -> list[int]:
        """Of each transform's stream."""
        return [draws.stream_key(seed, draws.AUGMENT + position, epoch) for position in range(len(self.transforms))]

    def _draw(self, index: Tensor, keys: Sequence[int] | Tensor, dtype: torch.dtype) -> list[Params]:
        """See ``draw``; where keys are a tensor, at once for all transforms: as many kernels as for one."""
        transforms = self._augmentations()
        counts = [transform.draws for transform in transforms]
        if isinstance(keys, Tensor):
            uniforms = list(draws.uniforms(keys[:, None], index, max(counts)))
        else:
            uniforms = [draws.uniforms(key, index, count) for key, count in zip(keys, counts, strict=True)]
        return [
            transform.draw(drawn[:, :count].to(dtype))
            for transform, drawn, count in zip(transforms, uniforms, counts, strict=True)
        ]

    def _augmentations(self) -> list[Augmentation]:
        return [transform for transform in self.transforms if isinstance(transform, Augmentation)]

    def _groups(self, drawn: list[Drawn]) -> list[list[Drawn]]:
        """Neighbours that one resampling can do together; without ``fused`` each alone."""
        groups: list[list[Drawn]] = []
        for item in drawn:
            if self.fused and groups and _fits(groups[-1], item[0]):
                groups[-1].append(item)
            else:
                groups.append([item])
        return groups


def _type_of_draws(images: Tensor) -> torch.dtype:
    return torch.float64 if images.dtype == torch.float64 else torch.float32


def _arguments(transform: Augmentation) -> tuple[Hashable, ...]:
    """Of its constructor, as its attributes are now."""
    values = (getattr(transform, name) for name in _names(type(transform)))
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


@cache
def _names(kind: type[Augmentation]) -> tuple[str, ...]:
    return tuple(arguments_of(kind)[0])


def _fits(group: list[Drawn], transform: Augmentation) -> bool:
    """Whether a transform reads pixels outside the image by the same rule as all of the group.

    A flip never looks outside, so it fits any rule.
    """
    members = [member for member, _ in group] + [transform]
    if not all(isinstance(member, Geometric) for member in members):
        return False
    rules = {_rule(member) for member in members if not isinstance(member, RandomFlip)}
    return len(rules) <= 1


def _rule(transform: Augmentation) -> tuple[str, float, str]:
    assert isinstance(transform, Geometric)
    return transform.fill_mode, transform.fill_value, transform.interpolation


def _apply_group(images: Tensor, group: list[Drawn]) -> Tensor:
    """One transform by itself, flips by reversal, anything else by the product of the matrices."""
    if len(group) == 1 or all(isinstance(transform, RandomFlip) for transform, _ in group):
        for transform, params in group:
            images = transform.apply(images, params)
        return images
    images = as_float(images)
    rule = next(_rule(transform) for transform, _ in group if not isinstance(transform, RandomFlip))
    return resample(images, _product(images, group), *rule)


def _product(images: Tensor, group: list[Drawn]) -> Tensor:
    """The matrix from the last output to the first input: that of the first transform is outermost."""
    matrices = [
        transform.matrix(as_type(params, images.dtype), *images.shape[-2:])
        for transform, params in group
        if isinstance(transform, Geometric)
    ]
    product = matrices[0]
    for matrix in matrices[1:]:
        product = compose(product, matrix)
    return product
