import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_tl.data.decode import MAX_PIXELS, decode_image, resize_image
from lightning_tl.data.header import exif_first
from lightning_tl.errors import InputError

ORIENTATION = 0x112


def pixels(height: int = 20, width: int = 30) -> Image.Image:
    """A smooth picture, so that lossy formats keep it, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    bands = np.stack([8 * x, 12 * y, 4 * (x + y)], -1)
    return Image.fromarray(np.clip(bands, 0, 255).astype(np.uint8))


def as_array(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy().astype(int)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str, mode: str) -> None:
    image = pixels().convert(mode)
    decoded = decode_image(saved(tmp_path / f"image{suffix}", image))
    assert decoded.dtype == torch.uint8
    assert decoded.shape == (3, 20, 30)
    assert np.array_equal(as_array(decoded), np.array(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(tmp_path: Path, mode: str) -> None:
    image = pixels().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    decoded = decode_image(saved(tmp_path / "image.png", image))
    expected = pixels() if mode == "RGBA" else pixels().convert("L").convert("RGB")
    assert np.array_equal(as_array(decoded), np.array(expected))


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = pixels().convert("P")
    decoded = decode_image(saved(tmp_path / "image.png", image, transparency=0))
    assert np.array_equal(as_array(decoded), np.array(image.convert("RGB")))


def test_of_16_bits_the_upper_8_are_kept(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (20, 30), dtype=np.uint16)
    decoded = decode_image(saved(tmp_path / "image.png", Image.fromarray(values)))
    assert np.array_equal(as_array(decoded), np.repeat(values[..., None] >> 8, 3, axis=2))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "image.jpg", pixels(64, 96).convert(mode), quality=95)
    expected = np.array(Image.open(path).convert("RGB"), dtype=int)
    # 2: torchvision and Pillow carry their own libjpeg, and convert CMYK by different formulas.
    assert np.abs(as_array(decode_image(path)) - expected).max() <= 2


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 95}])
def test_webp(tmp_path: Path, options: dict[str, object]) -> None:
    path = saved(tmp_path / "image.webp", pixels(), **options)
    assert np.array_equal(as_array(decode_image(path)), np.array(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (30, 20), (255, 0, 0)), Image.new("RGB", (30, 20), (0, 0, 255))
    path = saved(tmp_path / f"image{suffix}", first, save_all=True, append_images=[second], lossless=True)
    decoded = decode_image(path)
    assert decoded.shape == (3, 20, 30)
    assert np.array_equal(as_array(decoded), np.array(first))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(tmp_path / f"image{suffix}", pixels(), exif=exif)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's numbering to Pillow's
    expected = pixels().transpose(Image.Transpose(turns[orientation])) if orientation > 1 else pixels()
    difference = np.abs(as_array(decode_image(path)) - np.array(expected, dtype=int))
    assert difference.mean() < 5  # lossy formats; a wrong turn is off by dozens


@pytest.mark.parametrize("exif", [b"junk", b"Exif\0\0XX*\0\x08\0\0\0"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_broken_exif_turns_nothing(tmp_path: Path, suffix: str, exif: bytes) -> None:
    difference = as_array(decode_image(saved(tmp_path / f"image{suffix}", pixels(), exif=exif))) - np.array(pixels())
    assert np.abs(difference).mean() < 5


def test_memory_that_runs_out_over_exif_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    path = saved(tmp_path / "image.png", pixels())
    monkeypatch.setattr("PIL.Image.Image.getexif", full)
    with pytest.raises(InputError, match="there is not enough memory to decode it"):
        decode_image(path)


def test_format_follows_contents_not_the_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.jpg", pixels(), format="PNG")
    assert np.array_equal(as_array(decode_image(path)), np.array(pixels()))


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "b\udce9e.png"
    path.write_bytes(encoded("PNG"))
    assert decode_image(path).shape == (3, 20, 30)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    pixels().save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.0, 3, 20, 0.5, 0.7])  # at 0.8 all pixels of the PNG are there
def test_truncated_files(tmp_path: Path, kind: str, kept: float) -> None:
    data = encoded(kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(InputError, match=r"cut\.jpg' cannot be decoded as an image: .+on_bad_image") as error:
        decode_image(path)
    assert "\n" not in str(error.value)
    assert ".cpp" not in str(error.value)


def test_text_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("not an image")
    with pytest.raises(InputError, match=r"note\.jpg' .*no JPEG, PNG, WebP, GIF or BMP"):
        decode_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="Is a directory"):
        decode_image(tmp_path)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def resized_header(kind: str, width: int, height: int) -> bytes:
    """A real file with another size written into its header."""
    data = bytearray(encoded(kind))
    if kind == "JPEG":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    else:
        data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_decompression_bombs_are_refused_from_their_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb.jpg"
    path.write_bytes(png_bomb(60000, 60000) if kind == "PNG" else resized_header(kind, 60000, 60000))
    with pytest.raises(InputError, match=f"declares 60000 x 60000 pixels, more than {MAX_PIXELS}"):
        decode_image(path)


def test_a_thumbnail_is_not_taken_for_the_image(tmp_path: Path) -> None:
    thumbnail = b"Exif\0\0" + resized_header("JPEG", 60000, 60000)
    data = encoded("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = tmp_path / "image.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    assert decode_image(path).shape == (3, 20, 30)


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("antialias", [False, True])
def test_resize_gives_the_size_and_keeps_a_flat_colour(mode: str, antialias: bool) -> None:
    image = torch.tensor([10, 128, 255], dtype=torch.uint8)[:, None, None].expand(3, 40, 50)
    resized = resize_image(image, (8, 12), mode, antialias)  # type: ignore[arg-type]
    assert resized.shape == (3, 8, 12)
    assert resized.dtype == torch.uint8
    inside = resized[:, :, 1:-1]
    assert (inside == image[:, :1, :1]).all()


def test_pad_fills_with_zeros_around_the_centred_image() -> None:
    resized = resize_image(torch.full((3, 10, 20), 200, dtype=torch.uint8), (16, 16), "pad")
    assert (resized[:, 4:12] == 200).all()
    assert (resized[:, :4] == 0).all()
    assert (resized[:, 12:] == 0).all()


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_extreme_aspect_ratios(mode: str) -> None:
    image = torch.full((3, 1, 3000), 7, dtype=torch.uint8)
    assert resize_image(image, (16, 16), mode).max() == 7  # type: ignore[arg-type]
    assert resize_image(image.transpose(1, 2), (16, 16), mode).max() == 7  # type: ignore[arg-type]


def test_antialias_averages() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    image = board.to(torch.uint8).expand(3, 64, 64)
    smooth = resize_image(image, (8, 8), antialias=True)[:, 1:-1, 1:-1]
    assert (smooth.float() - 127.5).abs().max() <= 1


def test_unknown_mode() -> None:
    with pytest.raises(InputError, match=r"stretch, crop, pad\. Received: 'fit'"):
        resize_image(torch.zeros(3, 4, 4, dtype=torch.uint8), (2, 2), "fit")  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_behind_other_metadata_turns_too(tmp_path: Path, orientation: int) -> None:
    """As some editors write it; torchvision looks at the first APP1 segment alone."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    plain = saved(tmp_path / "plain.jpg", pixels(), exif=exif)
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"
    data = plain.read_bytes()
    assert exif_first(data) is data
    moved = tmp_path / "moved.jpg"
    moved.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + data[2:])
    assert torch.equal(decode_image(moved), decode_image(plain))
