"""Claims 6 and 7: what the last N layers train, and the constants of BatchNorm."""

import numpy as np

from lightning_tl.backbone import Backbone
from lightning_tl.keras_layers import WEIGHTS, mobilenetv2_layers, name_table
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.compare import absolute
from parity_tests.processes import KerasProcess

ALPHA, SIZE = 0.35, (96, 96)
NARROW = 0.25
"""Keras has a layer more there: the first block is as wide as the stem and gets a shortcut. timm has no such model."""


def our_sets(backbone: Backbone, names: list[str], library: ours.Library, alpha: float = ALPHA) -> np.ndarray:
    """For each N, which of the tensors with these Keras names train."""
    torch_names = {row.keras: f"net.{row.torch}" for row in name_table(library, alpha)}
    rows = []
    for count in range(len(backbone.layers()) + 1):
        backbone.unfreeze_last(count)
        training = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
        rows.append([torch_names[name] in training for name in names])
    return np.array(rows)


@claim(
    "trainable-sets",
    6,
    "For every N from 0 to 154 the last N layers train the same tensors; with pooling, N is one more; to 155 at "
    "alpha 0.25, where Keras has a layer more. "
    "The error counts tensors that train on one side alone.",
    dtypes=("float32",),
)
def trainable_sets(theirs: KerasProcess) -> dict[str, float]:
    expected = theirs.call("model.trainable_sets", {"alpha": ALPHA})
    names = [str(name) for name in expected["names"]]
    errors = {}
    for library in ours.LIBRARIES:
        name, network = ours.backbone(library, ALPHA)
        found = our_sets(Backbone(name, "keras", SIZE, network), names, library)
        errors[library] = disagreements(found, expected["plain"])
        errors[f"{library}, pooling"] = disagreements(np.vstack([found[:1], found]), expected["pooled"])
    narrow = theirs.call("model.trainable_sets", {"alpha": NARROW})
    name, network = ours.backbone("torchvision", NARROW)
    found = our_sets(Backbone(name, "keras", SIZE, network), list(map(str, narrow["names"])), "torchvision", NARROW)
    errors[f"torchvision, alpha {NARROW}"] = disagreements(found, narrow["plain"])
    trained = {20: 21, 154: 156}  # tensors of the recipe's finetune phase, and all
    errors["known counts"] = float(sum(expected["plain"][n].sum() != count for n, count in trained.items()))
    return errors


def disagreements(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours != theirs).sum()) if ours.shape == theirs.shape else float("inf")


@claim(
    "batchnorm-constants",
    7,
    "Epsilon and momentum (torch's counted from the other end) are the same in every BatchNorm.",
    dtypes=("float32",),
)
def batchnorm_constants(theirs: KerasProcess) -> dict[str, float]:
    expected = theirs.call("model.constants", {"alpha": ALPHA})
    errors = {}
    for library in ours.LIBRARIES:
        name, network = ours.backbone(library, ALPHA)
        modules = dict(Backbone(name, "keras", SIZE, network).net.named_modules())
        paths = [layer.module(library) for layer in mobilenetv2_layers(ALPHA) if len(WEIGHTS.get(layer.kind, ())) == 4]
        norms = [modules[path] for path in paths if path is not None]
        errors[f"{library}, epsilon"] = absolute([norm.eps for norm in norms], expected["epsilon"])
        errors[f"{library}, momentum"] = absolute([1 - norm.momentum for norm in norms], expected["momentum"])
    return errors
