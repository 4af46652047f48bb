"""Names in JSON and Parquet, which hold UTF-8 alone: a file or a class may be called by any bytes."""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u(d[89a-f][0-9a-f]{2}))")
_FIRST_BYTE = 0xDC00
"""Python reads a byte that is no UTF-8 as this code point plus the byte (PEP 383, ``surrogateescape``)."""


def escaped(name: str) -> str:
    r"""``name`` as UTF-8: a byte that is none becomes ``\x`` and two hexadecimal digits, a backslash two of them.

    All other names stay as they are; ``unescaped`` gives every name back.
    """
    return _SURROGATE.sub(_escape, name.replace("\\", "\\\\"))


def unescaped(text: str) -> str:
    """The name that ``escaped`` made ``text`` of, as ``os.fsdecode`` gives it."""
    return _ESCAPE.sub(_unescape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    is_byte = 0x80 <= code - _FIRST_BYTE <= 0xFF
    return f"\\x{code - _FIRST_BYTE:02x}" if is_byte else f"\\u{code:04x}"  # the latter in Windows' names alone


def _unescape(found: re.Match[str]) -> str:
    backslash, byte, code = found.groups()
    return backslash or chr(int(code, 16) if code else _FIRST_BYTE + int(byte, 16))
