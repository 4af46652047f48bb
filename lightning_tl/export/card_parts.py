"""The parts of a model card that tell where its model comes from and how it was checked."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import PureWindowsPath
from typing import Any

from lightning_tl.evaluate import PACKAGES
from lightning_tl.export.job import Job
from lightning_tl.export.markdown import escaped, table
from lightning_tl.export.record import Exported, Int8
from lightning_tl.export.tolerances import INT8_ACCURACY


def metrics_part(job: Job) -> list[str]:
    """Of the run, as its results.json has them."""
    results = job.origin.results
    lines = ["## Metrics", ""]
    if results is None:
        return [*lines, "The run left no results.json: it had not finished, or the checkpoint lies elsewhere."]
    columns = ("epochs", "val_accuracy", "val_loss")
    phases = _dicts(results.get("phases"))
    rows = [[escaped(str(phase.get("name"))), *(_number(phase, key) for key in columns)] for phase in phases]
    test = results.get("test")
    test = test if isinstance(test, Mapping) else {}
    other = "the checkpoint that was best when the run ended, which is not the file exported here"
    whose = "this checkpoint" if job.origin.is_tested else other
    return [
        *lines,
        "After the last epoch of each phase, on the validation images:",
        "",
        *table(["phase", "epochs", "accuracy", "loss"], rows),
        "",
        f"Of {whose}, on the {escaped(str(test.get('split')))} split: accuracy {_number(test, 'accuracy')}, "
        f"F1 {_number(test, 'f1')}, loss {_number(test, 'loss')}.",
    ]


def int8_part(int8: Int8) -> list[str]:
    """Accuracy before and after quantising."""
    warning = (
        [f"**Accuracy fell by {int8.fall:.4f}, more than {INT8_ACCURACY.value}: use the float32 export.**", ""]
        if int8.fall > INT8_ACCURACY.value
        else []
    )
    return [
        "## Eight bits",
        "",
        *warning,
        *table(
            ["", "float32", "int8"],
            [
                ["accuracy", f"{int8.before:.4f}", f"{int8.after:.4f}"],
                ["bytes", str(int8.float_bytes), str(int8.int8_bytes)],
            ],
        ),
        "",
        f"Measured on {escaped(int8.held_out)}; both give the same class for {int8.agreement:.2%} of them. Ranges of "
        f"activations are from {escaped(int8.calibration)}. Static quantisation (QDQ), a scale for each output "
        "channel, weights of 7 bits so that CPUs without VNNI do not overflow. No speed is claimed. "
        "The float32 file that it is made of had been compared with the checkpoint.",
    ]


def verification_part(job: Job, exported: Exported) -> list[str]:
    """How the file was compared before it was put in place."""
    rows = [
        [escaped(found.runtime), found.output, str(found.images), f"{found.error:.2g}", f"{found.tolerance.value:g}"]
        for found in exported.checks
    ]
    against = "the same file in the process that measured it" if exported.int8 else "the checkpoint"
    return [
        "## Verification",
        "",
        f"Before it was put in place the file was opened by a process without lightning-tl, by the code above, and "
        f"compared with {against} on {escaped(job.compared)}, one by itself and all together.",
        "",
        *table(["runtime", "output", "images", "largest error", "tolerance"], rows),
        "",
        "Errors of logits are relative to the largest logit.",
    ]


def data_part(job: Job) -> list[str]:
    """What the model was trained and measured on; of folders and files the names alone, as the card goes to others."""
    data, counts = job.origin.checkpoint.data, job.origin.split_counts
    where = data.get("dataset") or _name(data.get("root") or "")
    shown = [f"{key.replace('_', ' ')} {escaped(_name(data[key]))}" for key in _SPLITTING if key in data]
    rows = [[split, str(sum(counts[split].values())), str(len(counts[split]))] for split in counts]
    divided = table(["split", "images", "classes"], rows) if rows else ["The run's split.csv is not there."]
    how = ", ".join(shown) or "unknown"
    return ["## Data", "", f"Images: {escaped(str(where))}", "", f"Divided by: {how}.", "", *divided]


def _name(value: object) -> str:
    """Of a file or folder of any system, whose paths this reads; other values as they are."""
    name = PureWindowsPath(str(value)).name
    return "unknown" if name in ("", "..") else name


_SPLITTING = ("split", "val_fraction", "test_fraction", "seed")
"""Data settings that decide which image is in which split."""


def hashes_part(job: Job, exported: Exported) -> list[str]:
    """Of the file, the checkpoint and the pretrained weights; versions."""
    record = job.plain.weights_record
    rows = [
        [escaped(exported.name), exported.sha256],
        [f"checkpoint {escaped(job.origin.checkpoint.path.name)}", job.origin.sha256],
        ["pretrained weights", escaped(record["sha256"]) or "none"],
    ]
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return ["## Hashes and versions", "", *table(["file", "SHA-256"], rows), "", f"Written with {versions}."]


def rights_part(job: Job) -> list[str]:
    """What is left to the reader."""
    source = without_folders(job.plain.weights_record["source"])
    return [
        "## Licence",
        "",
        f"Pretrained weights: {escaped(source)}. Their licence, and that of the training "
        "images, may bind this file too; nobody has checked them here. Look them up before you pass it on.",
    ]


def without_folders(source: str) -> str:
    """Where weights came from (``WeightsFile.source``), with the name alone of a file on the machine that read it."""
    return re.sub(r"^(file|local cache) (?!of the hub, ).*[/\\]", r"\1 ", source, flags=re.DOTALL)


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _number(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return f"{value:.4f}" if isinstance(value, float) else escaped(str(value)) if value is not None else "unknown"
