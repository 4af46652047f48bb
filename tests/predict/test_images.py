"""Images by their places, readable or not, and their parts on several ranks."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from predicting import draw

from lightning_tl.data.cache import ImageSettings
from lightning_tl.data.dataset import PADDING
from lightning_tl.data.decode import decode_image
from lightning_tl.predict import images
from lightning_tl.predict.images import Batches, Feed, PathImages, why_no_file
from lightning_tl.predict.inputs import PathStream
from lightning_tl.sigterm import Sigterm

SETTINGS = ImageSettings((24, 20), "stretch", False)


@pytest.fixture
def sigterm() -> Iterator[Sigterm]:
    """Gives the signal back in the end."""
    listener = Sigterm()
    yield listener
    listener.restore()


def test_an_image(tmp_path: Path) -> None:
    (path,) = draw(tmp_path, 1)
    item = PathImages(SETTINGS)[7, path]
    assert (item["index"], item["label"], item["path"], item["reason"]) == (7, -1, path, "")
    torch.testing.assert_close(item["image"], SETTINGS.apply(decode_image(path)), rtol=0, atol=0)


def test_what_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "large.jpg").write_bytes(b"x" * 11)
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    reasons = {}
    for name in ("empty", "text", "folder", "gone", "pipe", "large"):
        item = PathImages(SETTINGS)[0, str(tmp_path / f"{name}.jpg")]
        reasons[name] = item["reason"]
        assert not item["image"].any()
        assert item["image"].shape == (3, 24, 20)
    assert reasons == {
        "empty": "it is empty",
        "text": "its contents are no JPEG, PNG, WebP, GIF or BMP",
        "folder": "it is a folder",
        "gone": "No such file or directory",
        "pipe": "it is no regular file",
        "large": "it has 11 bytes, more than 10",
    }
    assert why_no_file(f"{tmp_path}/empty.jpg\r") == "no such file: its line ends with a carriage return"
    assert why_no_file(f"{tmp_path}/none.jpg\r") == "No such file or directory"
    assert "null" in (why_no_file("a\0b") or "")
    assert "too long" in (why_no_file("x" * 300) or "")


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_keep_the_order_of_the_paths(tmp_path: Path, workers: int, sigterm: Sigterm) -> None:
    paths = draw(tmp_path, 11)
    (tmp_path / "03.png").write_text("no image")
    stream = PathStream([*paths, paths[2]])
    batches = list(Batches(Feed(stream, 5, sigterm), SETTINGS, workers))
    assert [batch["image"].shape[0] for batch in batches] == [5, 5, 2]
    assert [path for batch in batches for path in batch["path"]] == [*paths, paths[2]]
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(12))
    assert [bool(reason) for batch in batches for reason in batch["reason"]] == [n == 3 for n in range(12)]


def test_no_more_paths_are_taken_than_workers_need(tmp_path: Path, sigterm: Sigterm) -> None:
    stream = PathStream(draw(tmp_path, 30))
    batches = iter(Batches(Feed(stream, 2, sigterm), SETTINGS, 1))
    next(batches)
    assert stream.taken <= 8, "two batches ahead for each worker, and those at hand"
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("count", "ranks"), [(12, 2), (13, 2), (17, 3), (16, 4), (1, 4), (0, 2)])
def test_each_place_is_one_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, ranks: int) -> None:
    """As ``EpochSampler`` deals them out: a step's places in the order of the ranks, padding at its end."""
    names = [str(tmp_path / f"{number:02}.jpg") for number in range(count)]
    for name in names:
        Path(name).touch()
    parts = []
    for rank in range(ranks):
        told = iter([list(enumerate(names))[start : start + 3 * ranks] for start in range(0, count, 3 * ranks)] + [[]])
        monkeypatch.setattr(images, "rank_and_ranks", lambda rank=rank: (rank, ranks))
        monkeypatch.setattr(
            images, "from_first_rank", lambda value, told=told, rank=rank: check(value, next(told), rank)
        )
        parts.append(list(Feed(PathStream(names), 3, Sigterm())))
    steps = [[place for part in step for place in part] for step in zip(*parts, strict=True)]
    assert all(len({len(part) for part in step}) == 1 for step in zip(*parts, strict=True)), "all ranks step alike"
    assert [place for step in steps for place in step if place[0] != PADDING] == list(enumerate(names))


def check(value: object, told: object, rank: int) -> object:
    """What the first rank sends is what it would be told; others send nothing."""
    assert value == (told if rank == 0 else None)
    return told


@pytest.mark.parametrize("rank", [0, 1])
def test_all_ranks_end_where_the_first_is_told_to(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    told = Sigterm()
    told._note()
    monkeypatch.setattr(images, "rank_and_ranks", lambda: (rank, 2))
    monkeypatch.setattr(images, "from_first_rank", lambda value: check(value, None, rank))
    with pytest.raises(SIGTERMException, match="these are the last words"):
        next(iter(Feed(PathStream(["-"]), 3, told, "these are the last words")))
