"""Safetensors files: the tensors alone, by the names that torchvision or timm gives them, and a config beside them."""

import json
from pathlib import Path

from safetensors.torch import save_file

from lightning_tl.classifier import TransferClassifier
from lightning_tl.export.description import Description
from lightning_tl.export.plain_network import KERAS_CONVENTION, PlainNetwork, plain_network, plain_state
from lightning_tl.export.verify import Runtime


def runtime(network: PlainNetwork) -> Runtime:
    """Plain torchvision or timm."""
    return Runtime(f"plain {network.library}", ("safetensors", network.library, "torch"))


def write(path: Path, classifier: TransferClassifier, description: Description) -> None:
    """Write every tensor; ``convention`` and the description are in the header.

    ``lightning-tl fit --model.weights FILE`` takes such a file and keeps its convention.

    Args:
        path: to write.
        classifier: from ``load_plain``.
        description: of the model.

    Raises:
        InputError: the network does not end in one linear layer.
    """
    header = {"convention": description["convention"], "lightning_tl": json.dumps(description), "format": "pt"}
    save_file(plain_state(classifier, plain_network(classifier)), path, metadata=header)


def config(network: PlainNetwork, description: Description) -> str:
    """The config file: the description, and how the network is built, as JSON."""
    plain = {
        "library": network.library,
        "model": network.name,
        "arguments": network.arguments,
        "classifier": network.classifier,
    }
    return json.dumps({**description, "plain": plain}, indent=2) + "\n"


def code(path: Path, network: PlainNetwork, description: Description) -> str:
    """Python that gives ``logits`` and ``probabilities`` of ``images``, by torch, safetensors and the library alone."""
    as_keras = network.library == "torchvision" and description["convention"] == "keras"
    divisor, offset = description["divisor"], description["offset"]
    build = network.code() + (KERAS_CONVENTION if as_keras else "")
    return f"""import safetensors.torch
import {network.library}
import torch

{build}network.load_state_dict(safetensors.torch.load_file({str(path)!r}))
divisor, offset = torch.tensor({divisor}).view(3, 1, 1), torch.tensor({offset}).view(3, 1, 1)
with torch.inference_mode():
    logits = network.eval()(torch.from_numpy(images) / divisor - offset)
    probabilities = logits.softmax(dim=1)
"""
