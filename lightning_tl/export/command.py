"""``lightning-tl export``: arguments, and what is said of the file."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_tl.errors import printable
from lightning_tl.export.record import Exported
from lightning_tl.export.request import SUFFIXES, Request
from lightning_tl.export.tolerances import INT8_ACCURACY
from lightning_tl.option_errors import OptionParser


def main(args: Sequence[str]) -> int:
    """Export as ``args`` say; returns the exit status: 0, or 1 when the file did not compute what it should.

    Raises:
        InputError: bad input.
    """
    request = _request(args)
    request.check()
    from lightning_tl.export.export import export  # torch takes seconds to import: not before it is needed
    from lightning_tl.export.verify import VerificationError

    try:
        exported = export(request)
    except VerificationError as error:
        print(f"lightning-tl: error: {printable(str(error))}", file=sys.stderr)
        return 1
    print(printable("\n".join(_told(exported, request.paths))))
    if exported.int8 is not None and exported.int8.fall > INT8_ACCURACY.value:
        print(
            f"WARNING: accuracy fell by {exported.int8.fall:.4f}, more than {INT8_ACCURACY.value}. "
            f"{INT8_ACCURACY.reason}. Use the float32 export.",
            file=sys.stderr,
        )
    return 0


def _request(args: Sequence[str]) -> Request:
    parser = OptionParser(
        prog="lightning-tl export",
        description="Write a checkpoint as a file for other programs. The file is opened again by its own runtime and "
        "compared with the checkpoint on real images before it is put in place; a model card lies beside it.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="path of a .ckpt file; best or last of the newest run")
    parser.add_argument("--format", required=True, choices=SUFFIXES, help="how the file is written")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the file; the card is FILE.md")
    parser.add_argument("--int8", action="store_true", help="onnx at eight bits, calibrated on the run's images")
    parser.add_argument(
        "--images", nargs="+", default=[], metavar="PATH", help="compare on these, not on the run's validation images"
    )
    parser.add_argument("--data.root", dest="data_root", metavar="DIR", help="where the run's images are now")
    parser.add_argument("--root", default="runs", metavar="DIR", help="where best and last are looked for (runs)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    given = parser.parse_args(list(args))
    return Request(
        given.checkpoint,
        given.format,
        given.output,
        given.int8,
        given.images,
        given.data_root,
        given.root,
        given.overwrite,
    )


def _told(exported: Exported, paths: Sequence[Path]) -> list[str]:
    lines = [
        f"{check.runtime}: largest error of {check.output} on {check.images} images {check.error:.2g}, "
        f"allowed {check.tolerance.value:g}"
        for check in exported.checks
    ]
    if exported.int8 is not None:
        int8 = exported.int8
        lines += [
            f"calibrated on {int8.calibration}",
            f"accuracy on {int8.held_out}: {int8.before:.4f} before (float32, {int8.float_bytes} bytes), "
            f"{int8.after:.4f} after (int8, {int8.int8_bytes} bytes)",
        ]
    return [*lines, f"written: {', '.join(map(str, paths))}"]
