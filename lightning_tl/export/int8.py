"""ONNX at eight bits: static quantisation, calibrated on training images, and what it does to the accuracy."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.export.images import Images
from lightning_tl.export.record import Int8

CALIBRATED = 256
"""Training images that ranges of activations are taken from; on the flowers 32 give the same accuracy within 0.002."""
MEASURED = 5000
"""Held-out images at most that accuracy is measured on: its standard error is then below 0.007."""
BATCH = 32
CALIBRATION_BATCH = 8
"""Images at once: onnxruntime keeps all activations of a batch while it calibrates, 2 GB of 32 images at 160 pixels."""


def quantize(source: Path, target: Path, calibration: Images) -> None:
    """Write ``target``: ``source`` with int8 weights and uint8 activations (QDQ format).

    Weights have a scale for each output channel, since those of depthwise convolutions differ much from channel to
    channel, and 7 of the 8 bits, because products of 8 overflow on x86 without VNNI. On a CPU with VNNI the eighth
    bit would give back 0.011 of the 0.012 that the flowers lose; a file that is good on one CPU alone is no export.

    Args:
        source: float32 ONNX file.
        target: to write.
        calibration: images from which the ranges of activations are taken.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # onnxruntime's advice to do what is being done
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(source, prepared, skip_symbolic_shape=True)  # folds BatchNorm into convolutions
            quantize_static(
                prepared,
                target,
                _Reader(calibration),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                calibrate_method=CalibrationMethod.MinMax,
            )
    finally:
        logging.root.setLevel(level)
    model = onnx.load(target)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(source).metadata_props)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def measure(source: Path, target: Path, calibration: Images, images: Images) -> Int8:
    """Accuracy of both files on the same images, by onnxruntime.

    Args:
        source: float32 ONNX file.
        target: its int8 form.
        calibration: what ``quantize`` was given.
        images: with labels.
    """
    sessions = [_session(path) for path in (source, target)]
    rows = []
    for batch, labels in images.batches(BATCH):
        first, second = (_run(session, batch.numpy()).argmax(axis=1) for session in sessions)
        true = labels.numpy()
        rows.append(np.stack([first == true, second == true, first == second]))
    before, after, agreement = (float(share) for share in np.concatenate(rows, axis=1).mean(axis=1))
    sizes = [path.stat().st_size for path in (source, target)]
    return Int8(calibration.description, images.description, before, after, agreement, sizes[0], sizes[1])


def logits_of(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of an ONNX file, (images, classes), in this process."""
    return _run(_session(path), images)


class _Reader:
    """Feeds calibration images to onnxruntime, batch by batch."""

    def __init__(self, images: Images) -> None:
        self._batches: Iterator[Any] = images.batches(CALIBRATION_BATCH)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch[0].numpy()}


def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _run(session: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = session.run(["logits"], {"images": images})[0]
    return logits
