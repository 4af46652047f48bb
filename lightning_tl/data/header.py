"""What an image file says of itself before it is decoded: its format, the size it declares, its scans."""

import re
import struct
from typing import NamedTuple

MAX_SCANS = 100
"""Of a JPEG that is decoded: progressive files have about ten; thousands of empty ones would take hours."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    _PNG_SIGNATURE: "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
}
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's start-of-frame markers (ITU T.81, table B.1): C0 to CF without DHT, JPG and DAC."""
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers that no length follows: TEM, RST0 to RST7 and SOI."""
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", 0xD9
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The next marker after coded data, in which FF is followed by 00 and restart markers may stand."""

_APP1, _EXIF = b"\xff\xe1", b"Exif\x00\x00"
_BEFORE_IMAGE = frozenset(bytes([0xFF, marker]) for marker in (*range(0xE0, 0xF0), 0xFE))
"""JPEG's segments of applications, APP0 to APP15, and comments."""


class Size(NamedTuple):
    """Declared height and width in pixels, before any rotation that EXIF asks for."""

    height: int
    width: int


def image_format(data: bytes) -> str | None:
    """The format that the first bytes tell: jpeg, png, gif, bmp or webp; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)


def png_size(data: bytes) -> Size | None:
    """Size in the IHDR chunk, which must come first; None when the file ends before it."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return Size(height, width)


def jpeg_size(data: bytes) -> Size | None:
    """Size in the first frame header; None when there is none.

    Segments are skipped by their length, so that a thumbnail inside an EXIF segment is not taken for the
    image.
    """
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 9 <= len(data):
        marker = data[position + 1]
        if marker in _FRAME_MARKERS:
            return Size(*struct.unpack(">HH", data[position + 5 : position + 9]))
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _BARE_MARKERS:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def exif_first(data: bytes) -> bytes:
    """The same JPEG with its EXIF segment in front of other APP1 segments, such as XMP: decoders look at the first.

    ``data`` itself where it is so already, or where there is none.
    """
    position, others = 2, False
    while (marker := data[position : position + 2]) in _BEFORE_IMAGE:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _APP1 and data.startswith(_EXIF, position + 4):
            return data[:2] + data[position:end] + data[2:position] + data[end:] if others else data
        others |= marker == _APP1
        position = end
    return data


def jpeg_scans(data: bytes) -> int:
    """Upper bound of the scans in a JPEG: each makes the decoder visit every pixel again, however short it is.

    The exact number costs a walk over the file, which only those with suspiciously many need.
    """
    bound = data.count(_START_OF_SCAN)
    return bound if bound <= MAX_SCANS else _walk_scans(data)


def _walk_scans(data: bytes) -> int:
    """Scans before the end of the image: metadata, thumbnails and what follows the image do not count."""
    scans, position = 0, 2
    while match := _AFTER_SCAN.search(data, position):
        marker = data[match.end() - 1]
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN[1]
        bare = marker in _BARE_MARKERS
        position = match.end() + (0 if bare else int.from_bytes(data[match.end() : match.end() + 2], "big"))
    return scans


def webp_size(data: bytes) -> Size | None:
    """Size of the canvas in the first chunk; None when there is none.

    Of the three kinds of first chunk see https://developers.google.com/speed/webp/docs/riff_container.
    """
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return Size(int.from_bytes(body[7:10], "little") + 1, int.from_bytes(body[4:7], "little") + 1)
    if kind == b"VP8 " and len(body) == 10:
        width, height = struct.unpack("<HH", body[6:10])
        return Size(height & 0x3FFF, width & 0x3FFF)
    if kind == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return Size((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    return None
