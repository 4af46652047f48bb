"""What sections are built from."""

from collections.abc import Sequence

from lightning_tl.report.markup import Content, Markup, shown, tag


def section(identity: str, title: str, *content: Content, note: Content = None) -> Markup:
    """One section of the page with its heading and, under it, how to read it."""
    explained = None if note is None else tag("p", note, class_="note")
    head = tag("h2", title, id=f"{identity}-title")
    return tag("section", head, explained, *content, id=identity, aria_labelledby=f"{identity}-title")


def table(caption: str, header: Sequence[Content], rows: Sequence[Sequence[Content]], class_: str = "") -> Markup:
    """A table in a box of its own, which scrolls where the page is too narrow; the first cell of a row heads it."""
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    lines = [tag("tr", tag("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:])) for row in rows]
    whole_table = tag("table", tag("caption", caption), head, tag("tbody", *lines), class_=class_ or None)
    return tag("div", whole_table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def name_of(text: str) -> Markup:
    """A class's or file's name, its spaces kept."""
    return tag("span", shown(text), class_="name")


def _cell(content: Content) -> Markup:
    return tag("td", content)
