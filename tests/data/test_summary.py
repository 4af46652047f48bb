"""The lines that tell what is trained on and what is measured."""

from collections.abc import Callable
from pathlib import Path

import pytest
from data_modules import module

from lightning_tl.data.folder import Sample
from lightning_tl.data.summary import data_line, measured_line

Factory = Callable[..., Path]


def test_what_there_is(image_folder: Factory) -> None:
    root = image_folder({"daisy": 10, "rose": 10, "tulip": 10})
    assert module(root).summary("fit") == "data: 30 images of 3 classes (daisy, rose, tulip): 24 train, 6 val"
    divided = module(root, test_fraction=0.3).summary("fit")
    assert divided == "data: 30 images of 3 classes (daisy, rose, tulip): 15 train, 6 val, 9 test"


def test_of_many_classes_the_first_are_named() -> None:
    samples = [Sample("train", f"{n}/1.jpg", str(n)) for n in range(102)]
    names = [sample.label for sample in samples]
    assert data_line(samples, names) == "data: 102 images of 102 classes (0, 1, 2, 3, 4, ...): 102 train"
    assert "(0, 1, 2, 3, 4): " in data_line(samples, names[:5])


def test_a_name_stays_on_its_line() -> None:
    assert "('two\\nlines', 'caf\\udce9')" in data_line([], ["two\nlines", "caf\udce9"])
    assert measured_line("test", 2, "test", "a\nb").endswith("of 'a\\nb'")


@pytest.mark.parametrize(
    ("stage", "options", "line"),
    [
        ("validate", {}, "validate: the 4 images of split val of {}"),
        ("test", {}, "test: the 4 images of split val of {}, which has no test split"),
        ("test", {"test_fraction": 0.1}, "test: the 2 images of split test of {}"),
        ("test", {"split": "all"}, "test: all 20 images of {}"),
        ("validate", {"split": "all"}, "validate: all 20 images of {}"),
    ],
)
def test_what_is_measured(image_folder: Factory, stage: str, options: dict, line: str) -> None:
    root = image_folder({"ants": 10, "bees": 10})
    first, second = module(root, **options).summary(stage).splitlines()
    assert first.startswith("data: 20 images of 2 classes (ants, bees): ")
    assert first.endswith(": not divided") == (options == {"split": "all"})
    assert second == line.format(root)
