"""Pretrained networks without their classifier, in Keras' or torch's convention."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_tl.batchnorm import hold_statistics
from lightning_tl.errors import InputError
from lightning_tl.fingerprint import Fingerprint
from lightning_tl.foldable import find_pairs
from lightning_tl.folding import Folds, is_finite
from lightning_tl.frozen_blocks import find_blocks
from lightning_tl.frozen_graph import FrozenGraph
from lightning_tl.keras_layers import same_widths, torch_modules
from lightning_tl.network import KERAS_TIMM_MODELS, OTHER_BLOCKS, Convention, build_network, check_size, scaling
from lightning_tl.plainly import as_folded, is_looked_into

REGISTER = 16
"""Numbers of float32 in a vector register of AVX-512; AVX2 has 8. See ``_breaks_channels_last``."""


class Backbone(nn.Module):
    """A network that maps images to one feature vector each.

    It is in inference mode always: BatchNorm uses its moving statistics and dropout inside it is off, as in the
    recipe's ``base(x, training=False)``.

    Args:
        name: ``torchvision/mobilenet_v2`` or ``timm/<name>``.
        convention: how strided convolutions pad, BatchNorm's epsilon and momentum, and pixel scaling.
        image_size: (height, width) the network will see, in pixels; some timm models are built for one size.
        options: further constructor arguments of the network, for example ``{"width_mult": 0.35}``.
        fold_batchnorm: compute BatchNorm inside the convolution before it, and frozen layers as one graph; see
            ``lightning_tl.folding`` and ``lightning_tl.frozen_graph``.
        channels_last: keep channels last in memory, which convolutions on every kind of device prefer.

    Attributes:
        forgotten: how often ``forget`` was called: what was made from the weights before is of others.

    Raises:
        InputError: unknown name or options, a convention that the network does not have, or images of a size that it
            cannot take.
    """

    def __init__(
        self,
        name: str,
        convention: Convention,
        image_size: tuple[int, int],
        options: Mapping[str, Any] | None = None,
        fold_batchnorm: bool = True,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.name, self.convention, self.image_size = name, convention, image_size
        self._folds = Folds(())
        self._graph: FrozenGraph | None = None
        self._one_by_one = False
        self.forgotten = 0
        self.library, _, self.model_name = name.partition("/")
        self._options = dict(options or {})
        # Of torchvision's network; timm has the layers of width 1 at all of its widths.
        self.width = _width(self._options)
        if convention == "keras" and not self.counts_as_keras:
            raise InputError(
                f"backbone: only MobileNetV2 has the keras convention. Received: {name} (width {self.width:g}) with "
                "weights or convention of Keras; use torch weights, or torchvision/mobilenet_v2, at a width at which "
                "Keras has as many channels, or timm/mobilenetv2_*."
            )
        self.net = build_network(self.library, self.model_name, convention, image_size, dict(self._options))
        self._fingerprint = Fingerprint(self.net)
        # timm's LeViT, EfficientFormer and others keep what they have made of attention biases in inference mode.
        self._with_caches = tuple(module for module in self.net.modules() if hasattr(module, "attention_bias_cache"))
        hold_statistics(self.net)
        last = channels_last and not any(map(_breaks_channels_last, self.net.modules()))
        self.net.to(memory_format=torch.channels_last if last else torch.contiguous_format)
        divisor, offset = scaling(self.net, convention)
        self.register_buffer("divisor", divisor, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.divisor: Tensor
        self.offset: Tensor
        check_size(self.net, self.library, name, image_size)
        self.num_features = self._count_features()
        self.train(False)
        if fold_batchnorm:
            self._folds = Folds(find_pairs(self.net, self.features, image_size))
            find_blocks(self.net, self._folds.pairs, self.features, image_size)
            self._graph = FrozenGraph(self.net)

    @property
    def counts_as_keras(self) -> bool:
        """Whether Keras has this network too, so that layers are counted by Keras' own list."""
        if self.library == "timm":
            return self.model_name.split(".")[0] in KERAS_TIMM_MODELS
        rebuilt = self._options.keys() & OTHER_BLOCKS
        return self.name == "torchvision/mobilenet_v2" and not rebuilt and same_widths(self.width)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: uint8 or float in [0, 255], shape (batch, 3, height, width).

        Returns:
            Shape (batch, num_features).

        Raises:
            InputError: they are no batch, or channels come last, as in Keras.
        """
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling() or not isinstance(images, Tensor)  # type: ignore[no-untyped-call, attr-defined]
        if not traced:
            _check_batch(images)
        return self.pool(self.features(self.scale(images)))

    def scale(self, images: Tensor) -> Tensor:
        """Pixels in [0, 255] as the network was trained to see them, same shape, in the network's precision."""
        return torch.addcdiv(-self.offset, images.to(self.divisor.dtype), self.divisor)  # one pass over the pixels

    @property
    def recordable(self) -> bool:
        """Whether what it computes reads its own tensors alone, whose addresses a CUDA graph may keep."""
        return not self._with_caches

    def features(self, scaled: Tensor) -> Tensor:
        """The last feature map, (batch, channels, h, w), or tokens (batch, n, channels), of scaled images."""
        run: Any = self.net.features if self.library == "torchvision" else self.net.forward_features
        return self._features(scaled, partial(self._without_caches, run) if self._with_caches else run)

    def _without_caches(self, run: Callable[[Tensor], Tensor], scaled: Tensor) -> Tensor:
        self._clear_caches()  # of biases that may have been loaded, or trained, since, or made without a gradient
        features = run(scaled)
        self._clear_caches()  # which hold gradients' graphs, and could not be copied
        return features

    def _clear_caches(self) -> None:
        for module in self._with_caches:
            module.attention_bias_cache = {}  # type: ignore[assignment]

    def _features(self, scaled: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        if self._graph is None or torch.compiler.is_compiling() or is_looked_into() or self._graph.net is not self.net:
            self.fold()
            return run(scaled)
        with self._graph.lock:
            if self._folds.pairs and not is_finite(scaled):
                self._folds.forget()
                return run(scaled)
            recordable = self.recordable or not scaled.is_cuda  # oneDNN's graphs are of traces, which cache nothing
            takes = recordable and not self._one_by_one and self._graph.takes(scaled)
            fingerprint = self.fold() if takes or self._folds.pairs else []
            with as_folded():
                if takes and not self._folds.diverged:
                    return self._graph(scaled, run, fingerprint)
                return run(scaled)

    def pool(self, features: Tensor) -> Tensor:
        """Global average pooling (timm: the network's own pooling): (batch, num_features)."""
        if self.library == "torchvision":
            return _mean(features)
        return self.net.forward_head(features, pre_logits=True)  # type: ignore[operator, no-any-return]

    def fold(self) -> list[Any]:
        """Fold what needs no gradient now; for what a compiler makes see ``lightning_tl.plainly``.

        Returns:
            The network's fingerprint without the numbers that train, see ``lightning_tl.fingerprint``; empty where
            nothing is ever folded, and of a network that is not the one that this was made with.
        """
        if torch.compiler.is_compiling() or is_looked_into() or not (self._folds.pairs or self._graph):
            return []
        if self._fingerprint.net is not self.net:  # somebody has put another in its place
            return []
        gradients = torch.is_grad_enabled()
        with self._graph.lock if self._graph else nullcontext():
            fingerprint = self._fingerprint.take(numbers_that_train=False)
            whole = fingerprint
            if fingerprint.trains and not gradients:
                whole = self._fingerprint.take(numbers_that_train=True)
            self._folds.update(whole, gradients)
        return fingerprint

    def weights(self) -> tuple[Any, int]:
        """Other than before where the network's numbers may be; see ``lightning_tl.fingerprint``."""
        if self._fingerprint.net is not self.net:  # nothing is known of one that somebody has put in its place
            return object(), self.forgotten
        return self._fingerprint.take(numbers_that_train=True), self.forgotten

    def forget(self) -> None:
        """Fold anew before the next images, as after writing through ``tensor.data``, which leaves no trace."""
        self.forgotten += 1
        self._folds.forget()
        if self._graph is not None:
            self._graph.forget()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Backbone":
        """What ``to``, ``half`` and their like do, through ``tensor.data``."""
        self.forget()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    @contextmanager
    def without_graph(self) -> Iterator[None]:
        """Compute frozen layers one by one meanwhile, so that an image's features do not depend on its batch's size."""
        before, self._one_by_one = self._one_by_one, True
        try:
            yield
        finally:
            self._one_by_one = before

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in inference mode; ``mode`` is ignored."""
        return super().train(False)

    def layers(self) -> list[tuple[str, nn.Module | None]]:
        """Layers in order, as ``unfreeze_last`` counts them: (name, module with the layer's own weights).

        Keras' own list where Keras has the network (activations, additions and paddings count, their module is
        None); elsewhere the leaf modules, and modules with weights of their own, in execution order.
        """
        if self.counts_as_keras:
            modules = dict(self.net.named_modules())
            table = torch_modules("torchvision" if self.library == "torchvision" else "timm", self.width)
            return [(name, None if path is None else modules[path]) for name, path in table]
        return _executed(self)

    def unfreeze_last(self, count: int | Literal["all"]) -> list[str]:
        """Make the last ``count`` layers trainable, freeze the others; return the names of trainable tensors.

        Raises:
            InputError: the network has fewer layers.
        """
        layers = self.layers()
        if count != "all" and not 0 <= count <= len(layers):
            raise InputError(
                f"unfreeze_last: {self.name} has {len(layers)} layers. Received: {count}; give fewer, or all."
            )
        self.requires_grad_(count == "all")
        for _, module in layers[len(layers) - count :] if count != "all" else []:
            for parameter in module.parameters(recurse=False) if module is not None else ():
                parameter.requires_grad_(True)
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    def _count_features(self) -> int:
        """Of an image; InputError where the network takes none of ``image_size``, or none of three channels."""
        try:
            return int(self._probe().shape[1])
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            height, width = self.image_size
            raise InputError(
                f"backbone: {self.name} cannot compute features of RGB images of {height} x {width} pixels with "
                f"backbone_args {self._options}: {str(error) or type(error).__name__}. Give another image_size, or "
                "others of these arguments."
            ) from error

    @torch.no_grad()
    def _probe(self) -> Tensor:
        """Features of one black image."""
        return self(torch.zeros(1, 3, *self.image_size, device=self.divisor.device))  # type: ignore[no-any-return]


def _mean(features: Tensor) -> Tensor:
    """Over each channel; the gradient's channels are last in memory where those of ``features`` are.

    Torch has them first, whatever the features', and what comes before in the backward pass then copies or strides.
    """
    if features.requires_grad and features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).mean(dim=(1, 2))
    return features.mean(dim=(2, 3))


def _check_batch(images: Tensor) -> None:
    if images.ndim == 4 and images.shape[1] in (1, 3):  # gray is the same in all three
        return
    advice = "one image becomes a batch as image[None]."
    if images.ndim == 4 and images.shape[-1] in (1, 3):
        advice = "channels last, as Keras has them, become first by images.permute(0, 3, 1, 2)."
    raise InputError(
        f"images: a batch of shape (batch, 3, height, width) is needed. Received: {tuple(images.shape)}; {advice}"
    )


def _breaks_channels_last(module: nn.Module) -> bool:
    """Whether it is a convolution whose gradient oneDNN (of torch 2.15) writes past its end, with channels last.

    RepVGG's and FastViT's 1 x 1 ones with strides on images are; the process ends with "double free or corruption", or
    later. With AVX2 that was so for 2 to 7 channels and for none of 8, 12, 16 and 24, as if a register had to be full.
    """
    if not isinstance(module, nn.Conv2d) or module.in_channels >= REGISTER:
        return False
    return module.kernel_size == (1, 1) and max(module.stride) > 1


def _width(options: Mapping[str, Any]) -> float:
    width = options.get("width_mult", 1.0)
    if isinstance(width, bool) or not isinstance(width, (int, float)):
        raise InputError(f"backbone_args: width_mult must be a number. Received: {width!r}.")
    return float(width)


def _executed(backbone: Backbone) -> list[tuple[str, nn.Module | None]]:
    """Leaf modules, and modules with parameters of their own, in the order in which they start to run."""
    order: dict[str, nn.Module | None] = {}
    listed = {
        name: module
        for name, module in backbone.net.named_modules()
        if list(module.parameters(recurse=False)) or not (list(module.children()) or isinstance(module, nn.Identity))
    }
    handles = []
    for name, module in listed.items():

        def note(module: nn.Module, _: object, name: str = name) -> None:
            order.setdefault(name, module)

        handles.append(module.register_forward_pre_hook(note))
    try:
        backbone._probe()
    finally:
        for handle in handles:
            handle.remove()
    names = _with_those_not_called(list(order), [name for name in listed if list(listed[name].parameters(False))])
    return [(name or "(root)", listed[name]) for name in names]


def _with_those_not_called(called: list[str], with_parameters: list[str]) -> list[str]:
    """All of these modules: one that is not called stands before the next of its siblings that is.

    Its parent computes with its parameters, as some attention does with its projection; the network itself, whose own
    are class tokens and positions, is the first.

    Args:
        called: names, in the order in which they start to run.
        with_parameters: names, in the order of definition.
    """
    names = list(called)
    for place, name in reversed(list(enumerate(with_parameters))):
        if name not in names:
            inside = f"{name.rpartition('.')[0]}."
            siblings = [other for other in names if inside == "." or other.startswith(inside)]
            following = [other for other in with_parameters[place + 1 :] if other in siblings]
            at = names.index(following[0]) if following else names.index(siblings[-1]) + 1 if siblings else len(names)
            names.insert(0 if not name else at, name)
    return names
