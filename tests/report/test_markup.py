"""No text becomes markup."""

import json
import os

import pytest

from lightning_tl.report.markup import Markup, as_json, joined, shown, tag, void

EVIL = "</script><script>alert(1)</script><!-- \u2028 & \"quoted\" 'single'"


def test_text_is_escaped_and_markup_is_kept() -> None:
    made = tag("p", EVIL, tag("b", "x"), None, 3, class_="k", data_tip='"><i>', hidden=True, title=None)
    assert made == (
        "<p class=\"k\" data-tip=\"&quot;&gt;&lt;i&gt;\" hidden>&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
        "&lt;!-- \u2028 &amp; &quot;quoted&quot; &#x27;single&#x27;<b>x</b>3</p>"
    )  # fmt: skip
    assert isinstance(joined(EVIL), Markup)
    assert void("img", alt="<", src="data:,") == '<img alt="&lt;" src="data:,">'


def test_zero_is_a_value_of_an_attribute() -> None:
    assert tag("td", tabindex=0, x=0.0) == '<td tabindex="0" x="0.0"></td>'


def test_json_holds_no_markup_and_comes_back() -> None:
    text = as_json({EVIL: [EVIL, os.fsdecode(b"\xff")]})
    assert not {"<", ">", "&", "\u2028", "\u2029"} & set(text)
    assert text.isascii()
    assert json.loads(text) == {EVIL: [EVIL, os.fsdecode(b"\xff")]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ünï 日本", "ünï 日本"),
        ("new\nline\r\t", r"new\nline\r\t"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
)
def test_names_are_shown_on_one_line_from_left_to_right(name: str, expected: str) -> None:
    assert shown(name) == expected
    assert shown(name).encode("utf-8")
