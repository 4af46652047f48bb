"""Run as a script in a process of its own: the checks of a run, on files that may be anything, in little memory.

Usage: python mutated_worker.py FOLDER SPARE_MIB. Prints JSON: ``bad``, a reason by name of every file that is refused;
``shapes``, of every other, decoded and resized; ``peak``, MiB of memory that decoding added.
"""

import json
import logging
import resource
import sys
from pathlib import Path

import torch

from lightning_tl.data.check import apply_policy, find_bad_images
from lightning_tl.data.decode import decode_image, resize_image


def memory(field: str) -> int:
    """Of this process, in KiB: VmSize is address space, VmRSS what is in use, VmHWM the most that was."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def main(folder: Path, spare_mib: int) -> None:
    limit = memory("VmSize") * 2**10 + spare_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = memory("VmRSS")
    names = sorted(path.name for path in folder.iterdir())
    bad = find_bad_images(names, folder)
    logging.basicConfig(format="%(message)s")
    apply_policy(bad, len(names), "skip")
    refused = {image.path: image.reason for image in bad}
    shapes = {
        name: list(resize_image(decode_image(folder / name), (32, 24)).shape) for name in names if name not in refused
    }
    print(json.dumps({"bad": refused, "shapes": shapes, "peak": (memory("VmHWM") - before) // 2**10}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
