import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_tl.data.folder import Sample
from lightning_tl.data.split import check_trainable, keras_split, stratified_split
from lightning_tl.errors import InputError


def samples(**counts: int) -> list[Sample]:
    return [Sample("train", f"{name}/{n}.jpg", name) for name, count in counts.items() for n in range(count)]


def counts(divided: tuple[Sample, ...]) -> dict[tuple[str, str], int]:
    return dict(Counter((sample.split, sample.label) for sample in divided))


def test_every_class_is_divided_by_itself() -> None:
    divided = stratified_split(samples(a=50, b=10), 0.2, 0.1)
    assert counts(divided) == {
        ("train", "a"): 35,
        ("train", "b"): 7,
        ("val", "a"): 10,
        ("val", "b"): 2,
        ("test", "a"): 5,
        ("test", "b"): 1,
    }
    assert sorted(sample.path for sample in divided) == sorted(sample.path for sample in samples(a=50, b=10))


def test_rows_are_sorted_by_split_then_path() -> None:
    divided = stratified_split(samples(b=9, a=9), 0.3, 0.3)
    keys = [(("train", "val", "test").index(sample.split), sample.path) for sample in divided]
    assert keys == sorted(keys)


def test_it_depends_on_the_seed_and_not_on_the_order_of_files() -> None:
    given = samples(a=40, b=40)
    shuffled = random.Random(0).sample(given, len(given))
    assert stratified_split(given, 0.2, seed=1) == stratified_split(shuffled, 0.2, seed=1)
    assert stratified_split(given, 0.2, seed=1) != stratified_split(given, 0.2, seed=2)


def test_a_new_image_moves_hardly_any_other() -> None:
    before = {sample.path: sample.split for sample in stratified_split(samples(a=50, b=50), 0.2)}
    after = {sample.path: sample.split for sample in stratified_split(samples(a=51, b=50), 0.2)}
    assert sum(after[path] != split for path, split in before.items()) <= 1


@pytest.mark.parametrize(
    ("images", "expected"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (8, 1, 1))],
)
def test_small_classes(images: int, expected: tuple[int, int, int]) -> None:
    divided = stratified_split(samples(big=100, small=images), 0.1, 0.1)
    found = counts(divided)
    assert tuple(found.get((split, "small"), 0) for split in ("train", "val", "test")) == expected


@pytest.mark.parametrize(
    ("images", "fraction", "expected"), [(18, 0.2, 4), (17, 0.2, 3), (10, 0.25, 3), (100, 0.29, 29)]
)
def test_the_nearest_number_of_images_is_taken(images: int, fraction: float, expected: int) -> None:
    """Halves are rounded up; as floats, 100 * 0.29 is less than 29."""
    given = samples(a=images, b=images)
    assert counts(stratified_split(given, val_fraction=fraction))["val", "a"] == expected
    assert counts(stratified_split(given, val_fraction=0.1, test_fraction=fraction))["test", "a"] == expected


def test_large_fractions_leave_an_image_for_every_side() -> None:
    found = counts(stratified_split(samples(a=3, b=3), 0.7, 0.2))
    assert set(found.values()) == {1}


def test_stratified_with_an_empty_side() -> None:
    with pytest.raises(InputError, match=r"val_fraction 0.2, test_fraction 0.0 of 2 images leaves split val empty"):
        stratified_split(samples(a=1, b=1), 0.2)
    with pytest.raises(InputError, match="leaves split test empty"):
        stratified_split(samples(a=2, b=2), 0.2, 0.2)


def test_keras_split_rounds_down_and_refuses_an_empty_side(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"a": 5, "b": 4})
    assert sum(sample.split == "val" for sample in keras_split(root, 0.33, seed=0)) == 2
    with pytest.raises(InputError, match=r"val_fraction 0.1 of 9 images leaves split val empty"):
        keras_split(root, 0.1, seed=0)


def test_keras_split_checks_classes(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"a": 5, "b": 0})
    with pytest.raises(InputError, match="without an image: 'b'"):
        keras_split(root, 0.2, seed=0)
    with pytest.raises(InputError, match="does not exist"):
        keras_split(root / "gone", 0.2, seed=0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("val", "a"), ("val", "b")], "X leaves split train empty"),
        ([("train", "a"), ("train", "b")], "X leaves split val empty"),
        ([("train", "a"), ("val", "a")], "X has a single class, 'a'"),
        ([("train", "a"), ("val", "a"), ("test", "b")], "no image in train of classes that test has: 'b'"),
    ],
)
def test_check_trainable(rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_trainable([Sample(split, str(n), label) for n, (split, label) in enumerate(rows)], "X")
