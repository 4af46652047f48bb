"""Claim 15: files that leave for Keras, and files that come from it."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_tl.backbone import Backbone
from lightning_tl.bridge import KerasWeights, read, write
from lightning_tl.keras_layers import Library, name_table
from lightning_tl.network import Convention
from parity_tests.claim import claim
from parity_tests.compare import absolute
from parity_tests.pictures import pictures
from parity_tests.processes import Arrays, KerasProcess, session_folder

SIZE = (96, 97)
CLASSES = ("ant", "bee", "größe")
ALPHA = 0.35
CASES: dict[str, tuple[Convention, Library]] = {
    "keras convention, timm": ("keras", "timm"),
    "torch convention, torchvision": ("torch", "torchvision"),
}


@cache
def model(convention: Convention, library: Library) -> tuple[Backbone, write.Head]:
    """A backbone and a head with tensors such as training leaves them."""
    name, options = {
        "timm": ("timm/mobilenetv2_035", {}),
        "torchvision": ("torchvision/mobilenet_v2", {"width_mult": ALPHA}),
    }[library]
    generator = torch.Generator().manual_seed(0)
    backbone = Backbone(name, convention, SIZE, options)
    for key, tensor in backbone.net.state_dict().items():
        if tensor.dim() == 1:
            low, high = (0.5, 1.5) if key.endswith(("weight", "var")) else (-0.3, 0.3)
            tensor.uniform_(low, high, generator=generator)
        elif tensor.dim() == 4:
            tensor.normal_(0.0, (2.0 / tensor[0].numel()) ** 0.5, generator=generator)
    weight = 0.02 * torch.randn(3, 1280, generator=generator)  # so that no class is certain
    return backbone, write.Head(weight, torch.randn(3, generator=generator), CLASSES)


def export(convention: Convention, library: Library, name: str) -> Path:
    """The ``.keras`` file that we write of it."""
    backbone, head = model(convention, library)
    path = session_folder() / f"{name}_{convention}.keras"
    state = backbone.net.state_dict()
    write.write_keras(path, state, head, convention=convention, library=library, image_size=SIZE)
    return path


@cache
def exported(convention: Convention, library: Library) -> Path:
    """Written once for all backends: the file is the same whichever of them writes it."""
    return export(convention, library, "exported")


@torch.no_grad()
def probabilities(convention: Convention, library: Library) -> np.ndarray:
    """Ours of four pictures, (4, classes)."""
    backbone, head = model(convention, library)
    images = torch.from_numpy(pictures(4, *SIZE)).permute(0, 3, 1, 2)
    result: np.ndarray = (backbone(images) @ head.weight.T + head.bias).softmax(dim=1).numpy()
    assert result.max() < 0.999  # otherwise the comparison would show nothing
    assert result.std() > 0.01
    return result


def different(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> int:
    """How many tensors are missing on a side or differ by as little as a bit."""
    common = set(ours) & set(theirs)
    unequal = sum(not torch.equal(ours[name], theirs[name]) for name in common)
    return len(set(ours) ^ set(theirs)) + unequal


def imported_errors(convention: Convention, library: Library, path: Path) -> float:
    """Tensors, of backbone and head, and facts that a file gives back otherwise than they were."""
    backbone, head = model(convention, library)
    found: KerasWeights = read.read_keras(path, library)
    assert found.head_weight is not None
    assert found.head_bias is not None
    wrong = different(dict(backbone.net.state_dict()), found.state)
    wrong += different(
        {"weight": head.weight, "bias": head.bias}, {"weight": found.head_weight, "bias": found.head_bias}
    )
    return float(wrong + ((found.convention, found.alpha) != (convention, ALPHA)))


@claim(
    "export",
    15,
    "The .keras file that we write, opened by plain keras.saving.load_model: largest difference of a probability.",
    dtypes=("float32",),
)
def exported_predicts(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    for name, case in CASES.items():
        path = exported(*case)
        expected = theirs.call("files.predict", {"path": str(path)}, images=pictures(4, *SIZE))
        errors[name] = absolute(probabilities(*case), expected["probabilities"])
    return errors


@claim(
    "export-read-again",
    15,
    "Our .keras file, opened and saved again by Keras, read back by us: number of tensors that differ by a bit.",
    dtypes=("float32",),
)
def read_again(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    for name, case in CASES.items():
        path, target = exported(*case), session_folder() / f"again_{theirs.backend}_{case[0]}.keras"
        theirs.call("files.save_again", {"path": str(path), "target": str(target)})
        errors[f"ours, {name}"] = imported_errors(*case, path)
        errors[f"saved again by Keras, {name}"] = imported_errors(*case, target)
    return errors


@claim(
    "import",
    15,
    "MobileNetV2 that Keras has written in each of its formats, read by us under torchvision's and timm's names: "
    "number of tensors that differ by a bit.",
    dtypes=("float32",),
)
def imported(theirs: KerasProcess) -> dict[str, float]:
    variables = theirs.call("files.written", {"alpha": ALPHA, "folder": str(session_folder())})
    return {
        ending: sum(
            imported_error(session_folder() / f"{theirs.backend}{ending}", library, variables)
            for library in ("torchvision", "timm")
        )
        for ending in (".h5", ".weights.h5", ".keras")
    }


def imported_error(path: Path, library: Library, variables: Arrays) -> float:
    found = read.read_keras(path, library)
    expected = {
        row.torch: torch.from_numpy(np.ascontiguousarray(variables[row.keras].transpose(row.axes)))
        for row in name_table(library, ALPHA)
    }
    state = {name: tensor for name, tensor in found.state.items() if not name.endswith("num_batches_tracked")}
    return float(different(state, expected) + (found.convention != "keras") + (len(variables) != len(expected)))
