"""The model card: what lies beside an exported file for those who use it."""

from pathlib import Path

from lightning_tl.export import job as jobs
from lightning_tl.export.card_parts import (
    data_part,
    hashes_part,
    int8_part,
    metrics_part,
    rights_part,
    verification_part,
)
from lightning_tl.export.description import Description
from lightning_tl.export.job import Job
from lightning_tl.export.markdown import escaped, table
from lightning_tl.export.onnx_file import OPSET
from lightning_tl.export.record import Exported

TITLES = {
    "onnx": f"ONNX, opset {OPSET}",
    "pt2": "PT2, a graph of torch.export",
    "keras": "Keras 3 model",
    "safetensors": "safetensors: the tensors alone; the config is in the file of the same name that ends in .json",
}
"""Formats, for people."""


def card(job: Job, exported: Exported) -> str:
    """The whole card as Markdown; names of strangers are shown as text."""
    parts = [
        _opening(job, exported),
        _use(job, exported),
        metrics_part(job),
        int8_part(exported.int8) if exported.int8 else [],
        verification_part(job, exported),
        data_part(job),
        hashes_part(job, exported),
        rights_part(job),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def snippet(job: Job, name: str) -> str:
    """Python that runs as it is beside the file, on black images."""
    height, width = job.plain.backbone.image_size
    shape = (2, height, width, 3) if job.kind == "keras" else (2, 3, height, width)
    imports, _, body = jobs.code(job, Path(name)).partition("\n\n")
    return f"import numpy as np\n{imports}\n\nimages = np.zeros({shape}, np.uint8)  # yours\n{body}"


def _opening(job: Job, exported: Exported) -> list[str]:
    names = job.description["class_names"]
    precision = "int8 weights, uint8 activations" if exported.int8 else "float32"
    rows = [[str(label), escaped(name)] for label, name in enumerate(names)]
    return [
        f"# {escaped(exported.name)}",
        "",
        f"An image classifier of {len(names)} classes: {escaped(job.description['backbone'])} with a linear head, "
        f"trained by lightning-tl {escaped(job.description['lightning_tl'])}.",
        f"Format: {TITLES[job.kind]}; {precision}; {exported.size} bytes.",
        "",
        "## Classes",
        "",
        *table(["label", "class"], rows),
    ]


def _use(job: Job, exported: Exported) -> list[str]:
    height, width = job.description["image_size"]
    axes = f"(batch, {height}, {width}, 3)" if job.kind == "keras" else f"(batch, 3, {height}, {width})"
    outputs = "`probabilities`" if job.kind == "keras" else "`logits` and `probabilities`"
    scaling = "Scaling is in the code below, not in the file." if job.kind == "safetensors" else "Scaling is inside."
    return [
        "## Input and output",
        "",
        f"Input: images, uint8 RGB in [0, 255], {axes}, any batch size. {scaling}",
        f"Output: {outputs}, float32, (batch, {len(job.description['class_names'])}), in the order of the table above.",
        _resizing(job.description),
        "",
        "```python",
        snippet(job, exported.name).rstrip("\n"),
        "```",
        *_names_in_file(job),
    ]


def _resizing(description: Description) -> str:
    """How images were brought to the size of the model's, in one sentence."""
    if description["resize"] == "unknown":
        return "How images were brought to this size in training is not known here; other ways give other answers."
    smooth = "smoothed before making them smaller" if description["antialias"] else "without smoothing"
    mode = _RESIZE[description["resize"]]
    return f"Images were brought to this size by bilinear interpolation, {smooth}, {mode}; others give other answers."


_RESIZE = {
    "stretch": "regardless of their aspect ratio",
    "crop": "after the largest centred part of its aspect ratio was cut out",
    "pad": "keeping their aspect ratio, the rest black",
}


def _names_in_file(job: Job) -> list[str]:
    where = {
        "onnx": "`session.get_modelmeta().custom_metadata_map`, lists as JSON.",
        "pt2": "the extra file `lightning_tl.json` of `torch.export.load(…, extra_files={'lightning_tl.json': ''})`.",
        "keras": "`metadata.json` of the archive (class names).",
        "safetensors": "its header and the .json file. `lightning-tl fit --model.weights FILE` begins a new run with "
        "this backbone.",
    }
    return ["", f"Class names, image size and hashes are in the file too: {where[job.kind]}"]
