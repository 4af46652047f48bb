"""Pictures look the same after being saved anew, and different photographs do not."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reported import draw

from lightning_tl.report import lookalikes
from lightning_tl.report.lookalikes import ALIKE, SIDE, alike, look

ASSETS = Path(os.environ.get("LIGHTNING_TL_ASSETS", ""))
PHOTOGRAPHS = (
    sorted((ASSETS / "data" / "flowers").glob("*/*.jpg"))[::12] if os.environ.get("LIGHTNING_TL_ASSETS") else []
)


def saved_anew(picture: Image.Image, folder: Path) -> dict[str, Path]:
    """What people do to photographs: another quality, another size, another format and shape."""
    half = (picture.width // 2, picture.height // 2)
    ways = {
        "quality.jpg": (picture, {"quality": 30}),
        "half.jpg": (picture.resize(half, Image.Resampling.LANCZOS), {"quality": 60}),
        "square.png": (picture.resize((160, 160), Image.Resampling.BILINEAR), {}),
    }
    for name, (changed, options) in ways.items():
        changed.save(folder / name, **options)
    return {name: folder / name for name in ways}


@pytest.mark.skipif(not PHOTOGRAPHS, reason="needs the photographs of LIGHTNING_TL_ASSETS")
def test_photographs_saved_anew_are_alike_and_others_are_not(tmp_path: Path) -> None:
    assert len(PHOTOGRAPHS) > 250
    looks = {path: look(path) for path in PHOTOGRAPHS}
    found = []
    for number, path in enumerate(PHOTOGRAPHS[::10]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for copy in saved_anew(Image.open(path).convert("RGB"), folder).values():
            ours, theirs = looks[path], look(copy)
            assert ours is not None
            assert theirs is not None
            found.append(float(ours @ theirs) >= ALIKE)
    assert sum(found) > 0.95 * len(found) > 90
    assert alike(PHOTOGRAPHS) == []


def test_a_look_is_of_length_one_and_of_no_flat_picture(tmp_path: Path) -> None:
    draw(tmp_path, ["noise.png"])
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "flat.png")
    (tmp_path / "none.jpg").write_bytes(b"no picture")
    seen = look(tmp_path / "noise.png")
    assert seen is not None
    assert seen.shape == (3 * SIDE * SIDE,)
    assert float(np.linalg.norm(seen)) == pytest.approx(1, abs=1e-5)
    assert [look(tmp_path / name) for name in ("flat.png", "none.jpg", "missing.jpg")] == [None] * 3
    assert alike([tmp_path / "flat.png", tmp_path / "none.jpg"]) == []


def test_likeness_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that are not alike themselves are of one group by a third between them, whichever block it is in."""
    generator = np.random.default_rng(0)
    first, last, other = (generator.normal(size=(SIDE, SIDE, 3)) for _ in range(3))
    paths = []
    for name, mix in {"first": 0.0, "other": None, "last": 1.0, "between": 0.5}.items():
        values = (
            other if mix is None else first + 0.125 * mix * last
        )  # neighbours correlate by 0.998, the ends by 0.992
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray((128 + 30 * values).clip(0, 255).astype(np.uint8)).save(paths[-1])
    for block in (1, 2, 2048):
        monkeypatch.setattr(lookalikes, "BLOCK", block)
        assert alike(paths) == [[0, 2, 3]]
    assert alike(paths[:3]) == []
