import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keras_ref.data.folder import scan as keras_scan
from keras_ref.errors import InputError as KerasInputError
from lightning_tl.data.folder import Sample, list_images, scan
from lightning_tl.data.module import ImageFolderDataModule
from lightning_tl.data.split import keras_split
from lightning_tl.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.PNG", "b/deep/er/1.webp", "a/3.jpg", "B/x.jpeg", "a/notes.txt", "readme.md")
    assert scan(tmp_path) == (
        Sample("train", "B/x.jpeg", "B"),
        Sample("train", "a/3.jpg", "a"),
        Sample("train", "b/2.PNG", "b"),
        Sample("train", "b/deep/er/1.webp", "b"),
    )


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/._1.jpg", "a/.thumbs/1.jpg", "b/1.jpg", ".git/1.jpg")
    assert [sample.path for sample in scan(tmp_path)] == ["a/1.jpg", "b/1.jpg"]


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "store/1.jpg", "root/b/1.jpg")
    (tmp_path / "root/a").symlink_to(tmp_path / "store")
    assert [sample.path for sample in scan(tmp_path / "root")] == ["a/1.jpg", "b/1.jpg"]


def test_split_folders_are_used_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/{name}/1.jpg" for split in ("val", "test", "train") for name in "ba"))
    assert [(s.split, s.path, s.label) for s in scan(tmp_path)] == [
        (split, f"{split}/{name}/1.jpg", name) for split in ("train", "val", "test") for name in "ab"
    ]


def test_classes_may_be_called_like_splits(tmp_path: Path) -> None:
    """Their images, or some of them, lie directly in their folder."""
    touch(tmp_path, "train/1.jpg", "train/old/1.jpg", "bus/1.jpg", "Test/1.jpg", "Test/.hidden/1.jpg", "tests/a/1.jpg")
    assert [sample.label for sample in scan(tmp_path)] == ["Test", "bus", "tests", "train", "train"]


@pytest.mark.parametrize(
    ("folders", "advice"),
    [
        (["Training", "Testing"], "'Testing', 'Training'. Rename 'Testing' to test, 'Training' to train. A root that"),
        (["Train", "Valid", "Test"], "Rename 'Test' to test, 'Train' to train, 'Valid' to val. A root"),
        (["train", "Val"], "'Val', 'train'. Rename 'Val' to val. A root that is divided has train and val, and test"),
        (["train", "VALIDATION", "more"], "'VALIDATION', 'train'. Rename 'VALIDATION' to val. A root"),
        (["val", "test"], "'test', 'val'. A root that is divided"),
        (["Test"], "'Test'. Rename 'Test' to test. A root"),
    ],
)
@pytest.mark.parametrize("beside", [[], ["daisy/1.jpg", "rose/1.jpg"]], ids=["alone", "beside classes"])
@pytest.mark.parametrize("split", ["stratified", "keras"])
def test_splits_by_other_names_are_no_classes(
    tmp_path: Path, folders: list[str], advice: str, beside: list[str], split: str
) -> None:
    touch(tmp_path, *(f"{folder}/{name}/{n}.jpg" for folder in folders for name in ("daisy", "rose") for n in range(5)))
    touch(tmp_path, *beside)
    with pytest.raises(InputError, match="named like splits and hold folders, not images: ") as error:
        _ = ImageFolderDataModule(str(tmp_path), split=split).class_names
    assert advice in str(error.value)
    assert "A class of such a name needs its images directly in its folder." in str(error.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no class folders"),
        (["1.jpg"], "no class folders"),
        (["a/1.jpg", "b/note.txt"], r"without an image: 'b'.*\.jpeg"),
        (["a/1.jpg"], "a single class, 'a'"),
        (["train/a/1.jpg", "train/b/1.jpg"], "folder train and beside it nothing, but no val"),
        (["train/a/1.jpg", "train/b/1.jpg", "valid/a/1.jpg"], "beside it 'valid', but no val. Name"),
        (["train/a/1.jpg", "val/a/1.jpg", "bus/1.jpg"], "beside them 'bus'"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg"], "val lacks 'b' and also has 'c'"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/1.jpg"], r"val' has no class folders"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message) as error:
        scan(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_root_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone' does not exist"):
        scan(tmp_path / "gone")
    touch(tmp_path, "1.jpg")
    with pytest.raises(InputError, match=r"1\.jpg' is a file"):
        scan(tmp_path / "1.jpg")


def test_many_empty_classes_are_counted(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(InputError, match="'4' and 4 more"):
        scan(tmp_path)


@pytest.mark.parametrize("unreadable", [".", "a", "b/deep"])
@pytest.mark.parametrize(
    "find", [scan, list_images, lambda root: keras_split(root, 0.5, seed=0)], ids=["scan", "predict", "keras"]
)
def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find: Callable[[Path], object], unreadable: str
) -> None:
    """Its images would be missing without a word."""
    touch(tmp_path, "a/1.jpg", "b/2.jpg", "b/deep/3.jpg")
    for name in ("scandir", "listdir"):  # root may read every folder
        monkeypatch.setattr(os, name, refusing(getattr(os, name), tmp_path / unreadable))
    message = rf"data.root: the folder '{tmp_path / unreadable}' cannot be read: Permission denied\. Let it be read"
    with pytest.raises(InputError, match=message):
        find(tmp_path)


def refusing(listing: Callable[[str | Path], object], folder: Path) -> Callable[[str | Path], object]:
    """``listing`` that may not read a folder."""

    def refuse(path: str | Path) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    return refuse


def test_list_images(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"b": 1, "a": 2})
    touch(root, "top.bmp", "a/.hidden.jpg", "note.txt")
    found = list_images(root)
    assert found == tuple(f"{root}/{name}" for name in ("a/000.jpg", "a/001.png", "b/000.jpg", "top.bmp"))
    assert list_images(found[0]) == (found[0],)


def test_list_images_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="gone' does not exist"):
        list_images(tmp_path / "gone")


@pytest.mark.parametrize("find", [scan, list_images], ids=["scan", "predict"])
def test_a_root_that_the_system_refuses_is_named(tmp_path: Path, find: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"data.root '.*x' cannot be read: File name too long\. Give "):
        find(tmp_path / ("x" * 300))


def test_hymenoptera(assets: Path) -> None:
    samples = scan(assets / "data/hymenoptera")
    counts = {(s.split, s.label): sum((t.split, t.label) == (s.split, s.label) for t in samples) for s in samples}
    assert counts == {
        ("train", "ants"): 124,
        ("train", "bees"): 121,
        ("val", "ants"): 70,
        ("val", "bees"): 83,
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_among_the_images_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "a/2.png")
    for scanned, refusal in ((scan, InputError), (keras_scan, KerasInputError)):
        with pytest.raises(refusal, match=r"a/2.png' is no file that can be read whole"):
            scanned(tmp_path)


def test_images_of_formats_that_are_not_read_are_told_of(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.TIF", "a/notes.txt", "b/1.jpg", "b/deep/2.heic", "b/.hidden.tif")
    known = [
        f"data.root {str(tmp_path)!r}: 2 images are left out, in a format that is not read: 'a/2.TIF', "
        "'b/deep/2.heic'. Save them as JPEG or PNG to have them in."
    ]
    for scanned in (scan, keras_scan):
        with pytest.warns(UserWarning, match="2 images are left out") as warned:
            assert [sample.path for sample in scanned(tmp_path)] == ["a/1.jpg", "b/1.jpg"]
        assert [str(each.message) for each in warned] == known, "once, however many classes"
    with pytest.warns(UserWarning, match=r"2 images are left out, .*: 'a/2.TIF', 'b/deep/2.heic'\."):
        assert len(list_images(tmp_path)) == 2
