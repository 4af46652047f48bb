import os
import random

import pytest

from lightning_tl.predict.names import escaped, unescaped


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"photos/a b.jpg", "photos/a b.jpg"),
        ("日本\n.jpg".encode(), "日本\n.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        (b"caf\\xe9.jpg", "caf\\\\xe9.jpg"),
        (b"\\\\\xff\\x", "\\\\\\\\\\xff\\\\x"),
    ],
)
def test_every_name_becomes_utf8_and_comes_back(raw: bytes, text: str) -> None:
    assert escaped(os.fsdecode(raw)) == text
    assert os.fsencode(unescaped(text)) == raw


def test_random_bytes_come_back_and_no_two_become_one() -> None:
    generator = random.Random(0)
    names = {
        bytes(generator.choices(b"\\xudc80\xc3\xa9\xff\xed\xb2\x80", k=generator.randint(0, 8))) for _ in range(3000)
    }
    texts = {raw: escaped(os.fsdecode(raw)) for raw in names}
    assert len(set(texts.values())) == len(names)
    for raw, text in texts.items():
        assert os.fsencode(unescaped(text)) == raw
        text.encode("utf-8")
