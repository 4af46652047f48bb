"""Pretrained weights: found in a cache, fetched and verified, or read from a file; never silently random."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from lightning_tl.bridge import check_state, find_alpha, keras_convention, read_keras
from lightning_tl.bridge.read import Convention
from lightning_tl.errors import InputError
from lightning_tl.files import at_home
from lightning_tl.keras_layers import Library
from lightning_tl.values import pixels
from lightning_tl.weights.download import sha256
from lightning_tl.weights.formats import KERAS, SUFFIXES, read_safetensors, read_torch, safetensors_metadata
from lightning_tl.weights.official import imagenet

__all__ = ["WeightsFile", "check_state", "find_weights", "load_into", "load_weights", "sha256"]


_KERAS_BACKBONES = re.compile(r"torchvision/mobilenet_v2|timm/mobilenetv2_\d+(\..*)?")
"""Backbones that are Keras' MobileNetV2 at some width; timm's names may carry a tag after a dot."""


@dataclass(frozen=True)
class WeightsFile:
    """Weights on disk, and how they are to be understood.

    Attributes:
        path: the file.
        source: for people: ``local cache …``, ``download …``, ``package mirror …``, ``hub …`` or ``file …``.
        sha256: of the file, 64 hexadecimal digits.
        convention: ``keras`` or ``torch``: how the backbone must pad, normalise and scale pixels.
        backbone: for which it was found; names the tensors.
    """

    path: Path
    source: str
    sha256: str
    convention: Convention
    backbone: str


def find_weights(backbone: str, weights: str) -> WeightsFile:
    """Find the weights of a backbone; offline, a caller waits less than 15 seconds for the error.

    Args:
        backbone: ``torchvision/mobilenet_v2`` or ``timm/<name>``.
        weights: ``imagenet``, or the path of a .pth, .pt, .bin, .safetensors, .h5, .weights.h5 or .keras file.

    Raises:
        InputError: no source has them (with everything that was tried), or no such file or format.
    """
    if weights == "imagenet":
        path, source = imagenet(backbone)
        return WeightsFile(path, source, sha256(path), "torch", backbone)
    path = Path(at_home(weights))
    _check_file(path, backbone, weights)
    return WeightsFile(path, f"file {path}", sha256(path), _convention(path), backbone)


def load_weights(file: WeightsFile) -> dict[str, Tensor]:
    """Every tensor by its name in the full torchvision or timm model, classifier included where there is one.

    Of a whole Keras model the backbone alone; ``bridge.read_keras`` gives its head too.

    Raises:
        InputError: the file cannot be read, or a Keras file is not MobileNetV2.
    """
    if file.path.suffix in KERAS:
        return read_keras(file.path, cast(Library, file.backbone.partition("/")[0])).state
    return read_safetensors(file.path) if file.path.suffix == ".safetensors" else read_torch(file.path)


def load_into(net: nn.Module, backbone: str, file: WeightsFile, image_size: tuple[int, int] | None = None) -> None:
    """Fill a network with the file's weights, its classifier aside.

    Args:
        net: ``torchvision.models.mobilenet_v2`` or a timm model, with any or no classifier.
        backbone: its name, for messages.
        file: from ``find_weights``.
        image_size: (height, width) that the network was built for, for messages.

    Raises:
        InputError: a missing, unexpected or misshapen tensor, which is named.
    """
    state, own = load_weights(file), net.state_dict()
    classifier = _classifier_prefixes(net)
    head = (*classifier, *_around(classifier))
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(classifier)}
    given = {name: tensor for name, tensor in state.items() if name in wanted or not name.startswith(head)}
    what = f"weights: {file.path}{_width(file, state)} for {backbone}"
    check_state(wanted, given, what, _other_size(net, image_size))
    net.load_state_dict(own | {name: given[name] for name in wanted if name in given})


def _check_file(path: Path, backbone: str, weights: str) -> None:
    if not path.is_file():
        raise InputError(f"weights: imagenet, none, or a file. Received: {weights}, and there is no such file.")
    if path.suffix == ".ckpt":
        read_torch(path)  # says what to do with a Lightning checkpoint
    if path.suffix not in SUFFIXES:
        raise InputError(f"weights: {path} must end in one of {', '.join(SUFFIXES)}. Received: {path.suffix!r}.")
    if path.suffix in KERAS and not _KERAS_BACKBONES.fullmatch(backbone):
        raise InputError(
            "weights: Keras files are read for torchvision/mobilenet_v2 and timm/mobilenetv2_* alone, "
            f"of which 110d and 120d are deeper than any of Keras'. Received: {path} for {backbone}."
        )


def _convention(path: Path) -> Convention:
    """A Keras file tells its own; a .safetensors file may, in its header; other files are torch's."""
    if path.suffix in KERAS:
        return keras_convention(path)
    if path.suffix == ".safetensors":
        told = safetensors_metadata(path).get("convention", "torch")
        if told not in ("keras", "torch"):
            raise InputError(f"weights: the header of {path} gives convention keras or torch. Received: {told!r}.")
        return cast(Convention, told)
    return "torch"


def _width(file: WeightsFile, state: dict[str, Tensor]) -> str:
    """The width of a Keras file, which its message must name: the backbone may have been built at another."""
    if file.path.suffix not in KERAS:
        return ""
    return f" (MobileNetV2, alpha {find_alpha(state, cast(Library, file.backbone.partition('/')[0])):g})"


def _classifier_prefixes(net: nn.Module) -> tuple[str, ...]:
    """Where the library keeps the classifier: timm's configuration names it, torchvision has one place."""
    named = getattr(net, "pretrained_cfg", {}).get("classifier") or "classifier"
    return tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))


def _around(classifier: tuple[str, ...]) -> tuple[str, ...]:
    """The modules that hold it: some networks without classifiers lack all of a head, with the layers before those.

    What a network has of its own there counts as any other of its tensors.
    """
    parents = (name.removesuffix(".").rpartition(".")[0] for name in classifier)
    return tuple(f"{parent}." for parent in parents if parent)


def _other_size(net: nn.Module, image_size: tuple[int, int] | None) -> str:
    """Which images timm's weights are for, where that is another size than the network's, and shapes depend on it."""
    cfg = getattr(net, "pretrained_cfg", {})
    _, *theirs = cfg.get("input_size") or (3,)
    if image_size is None or not theirs or not cfg.get("fixed_input_size") or tuple(theirs) == tuple(image_size):
        return ""
    return (
        f"timm's own weights are for images of {pixels(theirs)} pixels and this network is for {pixels(image_size)}: "
        f"for those, set data.image_size to {theirs[0] if len(set(theirs)) == 1 else theirs}."
    )
