"""PT2 files: the graph of ``torch.export`` with its weights, which torch opens without our code."""

import json
from pathlib import Path

import torch

from lightning_tl.classifier import TransferClassifier
from lightning_tl.export.deployed import Deployed
from lightning_tl.export.description import Description
from lightning_tl.export.verify import Runtime

EXTRA = "lightning_tl.json"
"""Name of the description among the archive's extra files."""
RUNTIME = Runtime("torch alone", ("torch",))


def write(path: Path, classifier: TransferClassifier, description: Description) -> None:
    """Write the exported program of any batch size, with the description as an extra file.

    Args:
        path: to write.
        classifier: from ``load_plain``.
        description: of the model.
    """
    example = torch.zeros(2, 3, *classifier.backbone.image_size, dtype=torch.uint8)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Deployed(classifier), (example,), dynamic_shapes={"images": {0: batch}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds the paths of this machine
    torch.export.save(program, path, extra_files={EXTRA: json.dumps(description)})


def code(path: Path) -> str:
    """Python that gives ``logits`` and ``probabilities`` of ``images``, by torch alone."""
    return f"""import torch

program = torch.export.load({str(path)!r}).module()
logits, probabilities = program(torch.from_numpy(images))
"""
