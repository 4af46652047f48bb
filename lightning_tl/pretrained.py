"""A backbone with its weights, in their convention."""

from collections.abc import Callable
from typing import Literal, get_args

from lightning_tl.backbone import Backbone
from lightning_tl.errors import InputError
from lightning_tl.weights import find_weights, load_into

Convention = Literal["auto", "keras", "torch"]


def load_backbone(
    make: Callable[..., Backbone],
    name: str,
    weights: str,
    convention: Convention,
    record: dict[str, str] | None,
) -> tuple[Backbone, dict[str, str]]:
    """The backbone, made for the convention of its weights, with them; and where they came from.

    Args:
        make: the backbone's constructor but for ``convention``.
        name: of the backbone, ``torchvision/mobilenet_v2`` or ``timm/<name>``.
        weights: ``imagenet``, ``none`` or a file; see ``TransferClassifier``.
        convention: ``auto`` takes that of the weights, which another must not contradict.
        record: where the weights came from, if they are to come from a checkpoint later.

    Raises:
        InputError: an unknown convention, or weights that are not found, do not fit, or are of another convention than
            the one given.
    """
    if convention not in get_args(Convention):
        raise InputError(f"convention: one of {', '.join(get_args(Convention))} is needed. Received: {convention!r}.")
    if weights == "none":
        backbone = make(convention="torch" if convention == "auto" else convention)
        return backbone, record or {"source": "none: random initial weights", "sha256": ""}
    found = find_weights(name, weights)
    if convention not in ("auto", found.convention):
        raise InputError(
            f"convention: {found.source} holds weights in the {found.convention} convention. "
            f"Received: {convention}; leave it at auto."
        )
    backbone = make(convention=found.convention)
    load_into(backbone.net, name, found, backbone.image_size)
    return backbone, {"source": found.source, "sha256": found.sha256}
