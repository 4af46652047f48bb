"""Claims 1 and 2: features, logits and every intermediate stage."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.keras_layers import torch_modules
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.compare import relative, worst
from parity_tests.pictures import pictures
from parity_tests.processes import Arrays, KerasProcess
from parity_tests.weights import lived_in, real

SIZES = ((0.35, (96, 96)), (0.35, (97, 129)))
"""Width multiplier; height and width, even and odd."""
LARGE_SIZES = (
    *((0.35, size) for size in ((160, 160), (224, 224), (224, 225))),
    *((1.0, size) for size in ((96, 96), (97, 129), (160, 160), (224, 224))),
)
REAL_SIZES = ((0.35, (160, 160)), (0.35, (225, 224)), (1.0, (96, 96)), (1.0, (97, 129)), (1.0, (224, 224)))


def their_model(
    theirs: KerasProcess, job: str, weights: str, alpha: float, size: tuple[int, int], count: int = 2
) -> Arrays:
    """``forward`` or ``stages`` of so many pictures."""
    options = {"weights": weights, "alpha": alpha, "size": size, "classes": ours.CLASSES}
    return theirs.call(f"model.{job}", options, images=pictures(count, *size))


@torch.no_grad()
def forward_error(
    theirs: KerasProcess, weights: str, alpha: float, size: tuple[int, int], library: ours.Library, count: int
) -> float:
    """The largest of the errors of features, logits and probabilities."""
    model = ours.classifier(weights, alpha, size, theirs.float64, library).eval()
    images = ours.to_torch(pictures(count, *size), theirs.float64)
    logits = model(images)
    found = {"features": model.backbone(images), "logits": logits, "probabilities": logits.softmax(dim=1)}
    return worst(found, their_model(theirs, "forward", weights, alpha, size, count))


def over_sizes(theirs: KerasProcess, sizes: Any, weights: Any, count: int = 2) -> dict[str, float]:
    """By width and size, the larger of the two libraries' errors, on batches of ``count`` pictures."""
    return {
        f"alpha {alpha}, {size[0]}x{size[1]}": max(
            forward_error(theirs, weights(alpha), alpha, size, library, count) for library in ours.LIBRARIES
        )
        for alpha, size in sizes
    }


@claim(
    "forward", 1, "Features, logits and probabilities are equal on random lived-in weights, relative to the largest."
)
def forward(theirs: KerasProcess) -> dict[str, float]:
    return over_sizes(theirs, SIZES, lived_in)


@claim("forward-large", 1, "The same on larger images, sides odd and even, and at full width.")
def forward_large(theirs: KerasProcess) -> dict[str, float]:
    return over_sizes(theirs, LARGE_SIZES, lived_in)


@claim("forward-real", 1, "The same on Keras' ImageNet weights.")
def forward_real(theirs: KerasProcess) -> dict[str, float]:
    return over_sizes(theirs, REAL_SIZES, real)


@claim(
    "forward-stock",
    1,
    "The same in float64 with nothing of Keras switched: its BatchNorm then computes in float32 on torch and jax.",
    dtypes=("float64-stock",),
)
def forward_stock(theirs: KerasProcess) -> dict[str, float]:
    return over_sizes(theirs, SIZES[:1], lived_in)


@claim("stages", 2, "The output of every layer that both sides have is equal, relative to its own largest.")
def stages(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    for size in ((96, 96), (97, 129)):
        expected = their_model(theirs, "stages", lived_in(0.35), 0.35, size)
        for library in ours.LIBRARIES:
            found = our_stages(library, size, theirs.float64)
            assert len(found) >= {"torchvision": 149, "timm": 114}[library], len(found)
            errors[f"{library}, {size[0]}x{size[1]}"] = max(
                relative(output, expected[name]) for name, output in found.items()
            )
    return errors


@torch.no_grad()
def our_stages(library: ours.Library, size: tuple[int, int], float64: bool) -> Arrays:
    """Outputs of our modules by the name of the Keras layer that they are.

    timm's BatchNorm holds the activation after it, so there it is the ``_relu`` layer's output that is seen.
    """
    # A convolution that has its BatchNorm folded in has no stage of its own.
    model = ours.classifier(lived_in(0.35), 0.35, size, float64, library, fold_batchnorm=False).eval()
    found: Arrays = {}

    def note(names: list[str]) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found.update(dict.fromkeys(names, ours.to_numpy(output).copy()))  # ReLU6 works in place

        return hook

    for path, names in stage_modules(library, model.backbone.net).items():
        model.backbone.net.get_submodule(path).register_forward_hook(note(names))
    model.backbone(ours.to_torch(pictures(2, *size), float64))
    return found


def stage_modules(library: ours.Library, net: nn.Module) -> dict[str, list[str]]:
    """Path of each of our modules whose output is that of the named layers of Keras."""
    table = torch_modules(library, 0.35)
    places: dict[str, list[str]] = {}
    for (name, path), (following, _) in zip(table, [*table[1:], ("", None)], strict=True):
        if path is None:
            continue
        activated = following.endswith("relu") and library == "timm"
        places.setdefault(path, []).append(following if activated else name)
        if following.endswith("relu") and library == "torchvision":
            head, _, last = path.rpartition(".")
            places[f"{head}.{int(last) + 1}"] = [following]
        if following.endswith("add"):
            places[_block(path, library)] = [following]
    return places


def _block(path: str, library: ours.Library) -> str:
    """The residual block around a module: ``features.2`` or ``blocks.1.0``."""
    return ".".join(path.split(".")[: 2 if library == "torchvision" else 3])
