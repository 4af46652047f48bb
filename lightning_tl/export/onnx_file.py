"""ONNX files: one file, any batch size, uint8 in, logits and probabilities out."""

import json
from pathlib import Path
from typing import Any

import torch

from lightning_tl.classifier import TransferClassifier
from lightning_tl.errors import InputError
from lightning_tl.export.deployed import Deployed
from lightning_tl.export.description import Description
from lightning_tl.export.verify import Runtime

OPSET = 18
"""The one that torch's exporter writes without converting; ONNX Runtime reads it since 1.14."""
LIMIT = 2**31
"""Bytes of one protobuf message, and so of an ONNX file whose weights are inside."""
RUNTIME = Runtime("onnxruntime", ("onnxruntime",))


def write(path: Path, classifier: TransferClassifier, description: Description) -> None:
    """Write a checked ONNX model with the description in its metadata.

    Args:
        path: to write.
        classifier: from ``load_plain``.
        description: whose entries become the model's ``metadata_props``, lists as JSON.

    Raises:
        InputError: the model is too large for one file.
    """
    import onnx

    size = sum(tensor.numel() * tensor.element_size() for tensor in classifier.state_dict().values())
    if size >= LIMIT:
        raise InputError(f"format: an onnx file holds less than 2 GiB; this model has {size / 2**30:.1f}. Use pt2.")
    model = _trace(classifier)
    for node in model.graph.node:
        del node.metadata_props[:]  # traces of the call stack, with the paths of this machine
    model.producer_name, model.producer_version = "lightning-tl", description["lightning_tl"]
    onnx.helper.set_model_props(model, {key: _text(value) for key, value in description.items()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def code(path: Path) -> str:
    """Python that gives ``logits`` and ``probabilities`` of ``images``, by onnxruntime alone."""
    return f"""import onnxruntime

session = onnxruntime.InferenceSession({str(path)!r}, providers=["CPUExecutionProvider"])
logits, probabilities = session.run(["logits", "probabilities"], {{"images": images}})
"""


def _trace(classifier: TransferClassifier) -> Any:
    """The model as a protobuf message."""
    example = torch.zeros(2, 3, *classifier.backbone.image_size, dtype=torch.uint8)
    program = torch.onnx.export(
        Deployed(classifier),
        (example,),
        dynamo=True,
        input_names=["images"],
        output_names=["logits", "probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
