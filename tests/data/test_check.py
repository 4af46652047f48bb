import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_tl.data.check import BadImage, apply_policy, find_bad_images
from lightning_tl.errors import InputError


def test_bad_images_are_found_in_order_with_their_reason(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"a": 4})
    (root / "a/note.jpg").write_text("not an image")
    (root / "a/000.jpg").write_bytes((root / "a/000.jpg").read_bytes()[:-40])
    bad = find_bad_images(["a/001.png", "a/note.jpg", "a/000.jpg", "a/gone.jpg"], root)
    assert [image.path for image in bad] == ["a/note.jpg", "a/000.jpg", "a/gone.jpg"]
    assert bad[0].reason == "its contents are no JPEG, PNG, WebP, GIF or BMP"
    assert "truncated" in bad[1].reason
    assert bad[2].reason == "No such file or directory"


def test_the_gif_in_hymenoptera_is_an_image_and_told(assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        bad = find_bad_images(["imageNotFound.gif"], assets / "data/hymenoptera/train/ants")
    assert bad == ()
    assert "GIF files among the images, of which the first frame is used: 'imageNotFound.gif'" in caplog.text


MANY = [BadImage(f"{n}.jpg", "broken") for n in range(125)]


def test_error_names_every_file() -> None:
    with pytest.raises(InputError) as error:
        apply_policy(MANY, 200, "error")
    first, *lines = str(error.value).splitlines()
    assert first.startswith("125 of 200 images cannot be decoded.")
    assert "data.on_bad_image to skip" in first
    assert lines == [f"  '{n}.jpg': broken" for n in range(125)]


def test_skip_names_every_file(caplog: pytest.LogCaptureFixture) -> None:
    apply_policy(MANY, 200, "skip")
    (message,) = caplog.messages
    assert message.splitlines()[1:] == [f"  '{n}.jpg': broken" for n in range(125)]


def test_skip_counts_and_lists(caplog: pytest.LogCaptureFixture) -> None:
    apply_policy([BadImage("a\n.jpg", "broken")], 3, "skip")
    assert "1 of 3 images cannot be decoded and are left out:\n  'a\\n.jpg': broken" in caplog.text


def test_nothing_bad_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    apply_policy([], 3, "error")
    assert not caplog.records


def test_skipping_everything_is_an_error() -> None:
    with pytest.raises(InputError, match=r"1 of 1 images cannot be decoded\. Replace or remove them:"):
        apply_policy([BadImage("a.jpg", "broken")], 1, "skip")
