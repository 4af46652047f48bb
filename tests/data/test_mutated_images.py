"""A thousand damaged image files: each decodes or is refused by name; none crashes, hangs or eats the memory."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lightning_tl.data import decode
from lightning_tl.data.budget import Budget
from lightning_tl.data.decode import MAX_PIXELS, decode_image
from lightning_tl.data.header import MAX_SCANS, jpeg_scans, webp_size
from lightning_tl.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited as Linux limits it")

WORKER = Path(__file__).with_name("mutated_worker.py")
COUNT = 1200
"""Of which more than a thousand are JPEG, PNG and WebP; GIF and BMP, which we read too, are the rest."""
SPARE_MIB = 3 << 10
"""Address space beyond that of an idle process: one image of MAX_PIXELS takes 0.8 GB, in each of two threads."""
SECONDS = 120

SOURCES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("jpeg", "JPEG", {"quality": 90}),
    ("progressive", "JPEG", {"progressive": True}),
    ("grey", "JPEG", {"mode": "L"}),
    ("cmyk", "JPEG", {"mode": "CMYK"}),
    ("exif", "JPEG", {"exif": True}),
    ("png", "PNG", {}),
    ("palette", "PNG", {"mode": "P"}),
    ("alpha", "PNG", {"mode": "RGBA"}),
    ("webp", "WEBP", {"quality": 80}),
    ("lossless", "WEBP", {"lossless": True}),
    ("animated", "WEBP", {"frames": 3, "exif": True}),
    ("gif", "GIF", {"frames": 3}),
    ("bmp", "BMP", {}),
)
"""Name, format and options of the files that are damaged."""
SIZES = (
    (0, 0), (1, 1), (39, 57), (400, 300), (40, 0), (2000, 2000), (60000, 60000), (65535, 65535), (16385, 16384),
    (2**24 - 1, 200), (200, 2**24 - 1), (2**31 - 1, 2**31 - 1), (2**31, 1), (2**32 - 1, 2**32 - 1),
)  # fmt: skip
"""Declared heights and widths: none, others, just too large, far too large, and what overflows."""


def picture(kind: str, mode: str = "RGB", frames: int = 1, exif: bool = False, **options: Any) -> bytes:
    """A photograph's worth of structure in 40 x 56 pixels, encoded."""
    y, x = np.mgrid[0:40, 0:56]
    bands = np.stack([4 * x, 6 * y, 2 * (x + y)], -1) + np.random.default_rng(0).integers(0, 20, (40, 56, 3))
    image = Image.fromarray(bands.clip(0, 255).astype(np.uint8)).convert(mode)
    if frames > 1:
        options |= {"save_all": True, "append_images": [image.rotate(90 * n) for n in range(1, frames)]}
    if exif:
        tags = Image.Exif()
        tags[0x112] = 6
        options["exif"] = tags
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits turned over, half of the time in the header."""
    changed = bytearray(data)
    end = min(64, len(data)) if rng.random() < 0.5 else len(data)
    for position in rng.integers(0, end, rng.integers(1, 9)):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def declaring(data: bytes, rng: np.random.Generator) -> bytes:
    """Another size in the header, with the checksum that belongs to it, and sometimes a bit turned over as well."""
    height, width = SIZES[rng.integers(len(SIZES))]
    declared = resized(bytearray(data), height, width)
    return flipped(declared, rng) if rng.random() < 0.2 else declared


def resized(data: bytearray, height: int, width: int) -> bytes:
    """``data`` with the declared size replaced, cut to the bits that the format has for it."""
    if data[:2] == b"\xff\xd8":
        frame = next(at for marker in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(marker)) >= 0)
        data[frame + 5 : frame + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif data[:4] == b"\x89PNG":
        data[16:24] = struct.pack(">II", height, width)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif data[:3] == b"GIF":
        data[6:10] = struct.pack("<HH", height & 0xFFFF, width & 0xFFFF)
    elif data[:2] == b"BM":
        data[18:26] = struct.pack("<II", height, width)
    elif data[12:16] == b"VP8X":
        data[24:30] = (height & 0xFFFFFF).to_bytes(3, "little") + (width & 0xFFFFFF).to_bytes(3, "little")
    elif data[12:16] == b"VP8L":
        data[21:25] = struct.pack("<I", (height & 0x3FFF) | (width & 0x3FFF) << 14 | data[24] & 0xF0 << 24)
    else:
        data[26:30] = struct.pack("<HH", height & 0x3FFF, width & 0x3FFF)
    return bytes(data)


MUTATIONS = (flipped, truncated, declaring)


@dataclass(frozen=True)
class Outcome:
    """What the worker printed, and how long it took in seconds."""

    answer: dict[str, Any]
    log: str
    seconds: float


def run_worker(folder: Path, spare_mib: int) -> Outcome:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, WORKER, folder, str(spare_mib)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]  # negative: killed by a signal
    return Outcome(json.loads(done.stdout), done.stderr, time.monotonic() - begin)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """COUNT damaged files and each sound one, seen by the worker."""
    folder = tmp_path_factory.mktemp("mutated")
    rng = np.random.default_rng(20)
    originals = {name: picture(kind, **options) for name, kind, options in SOURCES}
    for name, data in originals.items():
        (folder / f"{name}.img").write_bytes(data)
    names = list(originals)
    for number in range(COUNT):
        name, mutate = names[number % len(names)], MUTATIONS[number // len(names) % len(MUTATIONS)]
        (folder / f"{name}_{mutate.__name__}_{number}.img").write_bytes(mutate(originals[name], rng))
    return run_worker(folder, SPARE_MIB)


def test_every_file_decodes_or_is_refused_by_name(outcome: Outcome) -> None:
    bad, shapes = outcome.answer["bad"], outcome.answer["shapes"]
    seen = {*bad, *shapes}
    assert len(bad) + len(shapes) == len(seen) == COUNT + len(SOURCES)
    assert sum(not name.startswith(("gif", "bmp")) for name in seen) > 1000
    assert all(shape == [3, 32, 24] for shape in shapes.values())
    assert {f"{name}.img" for name, _, _ in SOURCES} <= set(shapes)
    for reason in bad.values():
        assert reason.strip()
        assert "\n" not in reason
        assert ".cpp" not in reason
    assert f"{len(bad)} of {COUNT + len(SOURCES)} images cannot be decoded and are left out:" in outcome.log


@pytest.mark.parametrize("mutation", [mutate.__name__ for mutate in MUTATIONS])
def test_each_kind_of_damage_is_found_in_many_files(outcome: Outcome, mutation: str) -> None:
    refused = [name for name in outcome.answer["bad"] if f"_{mutation}_" in name]
    assert len(refused) > 0.3 * COUNT / len(MUTATIONS)


def test_memory_stays_bounded(outcome: Outcome) -> None:
    assert outcome.answer["peak"] < SPARE_MIB


def test_without_memory_every_file_is_still_refused_by_name(tmp_path: Path) -> None:
    for number, (name, kind, options) in enumerate(SOURCES):
        (tmp_path / f"{number}_{name}.img").write_bytes(picture(kind, **options))
        sides = (16000, 16000) if kind != "WEBP" else (12000, 12000)
        (tmp_path / f"large_{name}.img").write_bytes(resized(bytearray(picture(kind, **options)), *sides))
    answer = run_worker(tmp_path, spare_mib=256).answer
    assert all(name.startswith("large_") for name in answer["bad"])
    assert len(answer["bad"]) + len(answer["shapes"]) == 2 * len(SOURCES)
    assert "there is not enough memory to decode it" in answer["bad"].values()


def with_scans(count: int) -> bytes:
    """A progressive JPEG with its last scan ``count`` times more, and no coded data in these."""
    data = picture("JPEG", progressive=True, mode="L")
    start = data.rindex(b"\xff\xda")
    header = data[start : start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")]
    return data[:-2] + header * count + data[-2:]


def test_thousands_of_empty_scans_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "scans.jpg").write_bytes(with_scans(5000))
    begin = time.monotonic()
    with pytest.raises(InputError, match=rf"scans\.jpg' .*it has 50\d\d scans, more than {MAX_SCANS}"):
        decode_image(tmp_path / "scans.jpg")
    assert time.monotonic() - begin < 1


def test_scans_outside_of_the_image_do_not_count(tmp_path: Path) -> None:
    inner = with_scans(MAX_SCANS)
    segment = b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner
    data = picture("JPEG")
    (tmp_path / "image.jpg").write_bytes(data[:2] + segment + data[2:] + inner)
    assert jpeg_scans((tmp_path / "image.jpg").read_bytes()) == 1
    assert decode_image(tmp_path / "image.jpg").shape == (3, 40, 56)


@pytest.mark.parametrize(("options"), [{}, {"lossless": True}, {"frames": 2}], ids=["VP8", "VP8L", "VP8X"])
def test_a_webp_declares_its_size_in_each_kind_of_chunk(options: dict[str, Any]) -> None:
    assert webp_size(picture("WEBP", **options)) == (40, 56)
    assert webp_size(picture("WEBP", **options)[:22]) is None


def test_a_webp_canvas_is_refused_before_the_decoder_takes_memory_for_it(tmp_path: Path) -> None:
    data = resized(bytearray(picture("WEBP", frames=2)), 2**24 - 1, 200)
    (tmp_path / "canvas.webp").write_bytes(data)
    with pytest.raises(InputError, match=f"declares 16777216 x 201 pixels, more than {MAX_PIXELS}"):
        decode_image(tmp_path / "canvas.webp")


def test_no_memory_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image.png").write_bytes(picture("PNG"))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode, "_decode", fail)
    with pytest.raises(InputError, match=r"image\.png' cannot be decoded as an image: there is not enough memory"):
        decode_image(tmp_path / "image.png")


def test_threads_share_a_budget_and_one_that_asks_for_more_still_gets_its_turn() -> None:
    budget, held, most = Budget(10), 0, 0
    lock = threading.Lock()

    def work(units: int) -> None:
        nonlocal held, most
        with budget.hold(units):
            with lock:
                held += units
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= units

    threads = [threading.Thread(target=work, args=(units,)) for units in (3, 4, 5, 9, 10, 1, 2) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert held == 0
    assert most <= 10
    with budget.hold(11):
        pass
