"""The file is for the images that the model was trained on, however its checkpoint tells of them."""

from pathlib import Path

import pytest
import torch

from lightning_tl.export.card import card
from lightning_tl.export.job import prepare
from lightning_tl.export.origin import find_origin
from lightning_tl.export.record import Exported


def changed(run: Path, tmp_path: Path, part: str, **values: object) -> Path:
    """A copy of the run's checkpoint in a folder of its own, with other values in one of its parts."""
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content[part] = {**content[part], **values} if values else {}
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_a_model_that_was_made_for_other_images_is_exported_for_those_it_has_seen(run: Path, tmp_path: Path) -> None:
    path = changed(run, tmp_path, "hyper_parameters", image_size=[64, 64])
    job = prepare("pt2", find_origin(str(path), "runs"), [str(run.parent / "images")])
    assert job.plain.backbone.image_size == (32, 32)
    assert (job.description["image_size"], tuple(job.images.shape[1:])) == ([32, 32], (3, 32, 32))


@pytest.mark.parametrize("told", [True, False])
def test_the_card_tells_of_resizing_what_the_checkpoint_does(run: Path, tmp_path: Path, told: bool) -> None:
    path = run / "checkpoints" / "best.ckpt" if told else changed(run, tmp_path, "datamodule_hyper_parameters")
    job = prepare("pt2", find_origin(str(path), "runs"), [str(run.parent / "images")])
    page = card(job, Exported("model.pt2", "0" * 64, 1, ()))
    assert ("bilinear interpolation, without smoothing" in page) is told
    assert ("in training is not known here" in page) is not told
