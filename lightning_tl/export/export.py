"""From a checkpoint to a file that has been opened and compared, its card beside it; or nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning_tl.errors import InputError
from lightning_tl.export import job as jobs
from lightning_tl.export import onnx_file, safetensors_file
from lightning_tl.export.card import card
from lightning_tl.export.images import Images, held_out, run_images
from lightning_tl.export.int8 import CALIBRATED, MEASURED, logits_of, measure, quantize
from lightning_tl.export.job import Job
from lightning_tl.export.origin import find_origin
from lightning_tl.export.plain_network import plain_network
from lightning_tl.export.record import Check, Exported, Int8
from lightning_tl.export.request import Request
from lightning_tl.export.verify import verify
from lightning_tl.files import behind_links, replacing
from lightning_tl.weights import sha256


def export(request: Request) -> Exported:
    """Write, open, compare, and only then put in place: the file, its config if it has one, its card.

    Each appears whole. The card and config go first, the file last; the card holds the file's hash. A link stays one:
    what it leads to is written.

    Raises:
        InputError: bad input, what the format cannot hold, or a file that cannot be written.
        VerificationError: the file does not compute what the checkpoint does; nothing is left.
    """
    request.check()
    origin = find_origin(request.checkpoint, request.root)
    job = jobs.prepare(request.kind, origin, request.images, request.data_root)
    splits = run_images(origin, job.plain.backbone.image_size, request.data_root) if request.int8 else {}
    with _writing(request.output), ExitStack() as stack:
        temporary = [stack.enter_context(replacing(behind_links(path))) for path in request.paths]
        checks, int8 = _write_int8(job, temporary[0], splits) if request.int8 else (_write(job, temporary[0]), None)
        file = temporary[0]
        exported = Exported(request.output.name, sha256(file), file.stat().st_size, checks, int8)
        temporary[1].write_text(card(job, exported), encoding="utf-8")
        if request.kind == "safetensors":
            temporary[2].write_text(safetensors_file.config(plain_network(job.plain), job.description))
    return exported


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Raise InputError in place of an OSError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"output: {str(output)!r} cannot be written: {error}. Give another file.") from error


def _write(job: Job, path: Path) -> list[Check]:
    jobs.write(job, path)
    return jobs.check(job, path)


def _write_int8(job: Job, path: Path, splits: dict[str, Images]) -> tuple[list[Check], Int8]:
    """The int8 file; the float32 file that it is made of is compared with the checkpoint, and not kept."""
    calibration, images = splits["train"].spread(CALIBRATED), held_out(splits).spread(MEASURED)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float32.onnx"
        _write(job, whole)
        quantize(whole, path, calibration)
        return _check_int8(job, path), measure(whole, path, calibration, images)


def _check_int8(job: Job, path: Path) -> list[Check]:
    """The file opens elsewhere and says there what it says here, where its accuracy is measured."""
    here = {"logits": logits_of(path, job.images.numpy())}
    return verify(onnx_file.RUNTIME, jobs.code(job, path), "int8", job.images, job.names, here)
