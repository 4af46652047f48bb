"""Ranks that do not have the same images are told so, on each of them."""

import os
import subprocess
import sys
from pathlib import Path

from lightning_tl.ranks import require_equal

RANK = """
import sys
from datetime import timedelta
import torch.distributed as dist
from lightning_tl import InputError
from lightning_tl.data import ImageFolderDataModule
rank = int(sys.argv[1])
meeting = {"init_method": f"file://{sys.argv[2]}", "timeout": timedelta(seconds=60)}
dist.init_process_group("gloo", rank=rank, world_size=2, **meeting)
try:
    data = ImageFolderDataModule(sys.argv[3 + rank], image_size=32, num_workers=0, cache="none")
    if rank == 0:
        data.setup("fit")  # as whoever looks at it first
    data.require_same_on_all_ranks()
except InputError as error:
    print(error)
"""


def of_two(folder: Path, *roots: Path) -> list[str]:
    """What each of two ranks says whose images are in these folders."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(folder / "meeting"), *map(str, roots)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    return [process.communicate(timeout=120)[0].strip() for process in started]


def test_one_process_has_nobody_to_differ_from() -> None:
    require_equal("data.root: images", ["train: a/0.png (a)"])


def test_images_that_one_machine_lacks_are_named(images: Path, tmp_path: Path) -> None:
    """Where all are the same, ``tests/distributed`` trains on."""
    other = tmp_path / "other"
    other.mkdir()
    for image in sorted(images.rglob("*.png")):
        (other / image.parent.name).mkdir(exist_ok=True)
        if image.name != "03.png":
            os.link(image, other / image.parent.name / image.name)
    for message in of_two(tmp_path, images, other):
        assert "images: every rank needs the same. Received: rank 0 has 30 and rank 1 27; the first that" in message
        assert "blue/0" in message
