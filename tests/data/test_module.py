"""What the data module holds: batches, classes, splits, and what is skipped or predicted."""

import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from data_modules import Mean, flat, module, trainer
from PIL import Image
from torch import Tensor

from lightning_tl.data import ImageFolderDataModule, Sample, decode_image, resize_image
from lightning_tl.data.cache import CacheMode
from lightning_tl.errors import InputError

Factory = Callable[..., Path]
FAKE = "torchvision.datasets.FakeData"

# With num_workers=0 Lightning suggests more; tests of a few images are faster without.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture
def with_bad(root: Path) -> Path:
    (root / "ants/note.jpg").write_text("not an image")
    return root


def test_batches(root: Path) -> None:
    data = module(root, image_size=[8, 10], resize="pad")
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (4, 3, 8, 10)
    assert batch["image"].dtype == torch.uint8
    for image, label, index in zip(batch["image"], batch["label"], batch["index"], strict=True):
        sample = data.samples[index]
        assert sample.split == "val"
        assert data.class_names[label] == sample.label
        assert torch.equal(image, resize_image(decode_image(root / sample.path), (8, 10), "pad"))


def test_workers_give_the_same_batches(root: Path) -> None:
    """Of images that are not kept: others have no workers."""
    ours, theirs = (module(root, num_workers=workers, cache="none").train_dataloader() for workers in (0, 2))
    assert (ours.num_workers, theirs.num_workers) == (0, 2)
    for mine, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(mine[key], other[key]) for key in ("image", "label", "index"))


def test_workers_decode_in_one_thread(root: Path) -> None:
    loader = module(root, num_workers=1, cache="none").train_dataloader()
    loader.dataset.read = threads_as_pixel  # type: ignore[attr-defined]
    assert next(iter(loader))["image"].unique().tolist() == [1]


def threads_as_pixel(path: str) -> Tensor:
    return torch.full((3, 8, 8), torch.get_num_threads(), dtype=torch.uint8)


def test_classes_are_known_before_any_image_is_read(with_bad: Path) -> None:
    data = module(with_bad)
    assert data.class_names == ("ants", "bees")
    assert data.num_classes == 2
    with pytest.raises(InputError, match=r"1 of 21 images cannot be decoded.*\n  'ants/note.jpg': its contents"):
        data.setup("fit")


def test_skipped_images_are_in_no_split(with_bad: Path, tmp_path: Path) -> None:
    data = module(with_bad, on_bad_image="skip")
    data.setup("fit")
    assert [image.path for image in data.bad_images] == ["ants/note.jpg"]
    assert len(data.samples) == 20
    data.write_split(tmp_path / "split.csv")
    assert "note" not in (tmp_path / "split.csv").read_text()
    seen = flat([batch["index"].tolist() for batch in data.train_dataloader()])
    assert sorted(seen) == [index for index, sample in enumerate(data.samples) if sample.split == "train"]


def test_skipping_a_whole_class_is_an_error(image_folder: Factory) -> None:
    root = image_folder({"train/a": 2, "train/b": 1, "val/a": 1, "val/b": 1})
    (root / "train/b/000.jpg").write_text("not an image")
    data = module(root, on_bad_image="skip")
    with pytest.raises(InputError, match=r"without images that cannot be decoded, leaves no image in train of .*'b'"):
        data.setup("fit")


def test_a_class_whose_images_are_all_skipped_is_an_error(image_folder: Factory) -> None:
    """Or a model of three classes would be trained on two, and no later command would find the third."""
    root = image_folder({"a": 4, "b": 4, "c": 1})
    (root / "c/000.jpg").write_text("not an image")
    data = module(root, on_bad_image="skip")
    with pytest.raises(InputError, match=r"data.on_bad_image: no image of 'c' can be decoded.*Replace the files"):
        data.setup("fit")


def test_split_folders(image_folder: Factory) -> None:
    root = image_folder({f"{split}/{name}": 2 for split in ("train", "val", "test") for name in "ab"})
    data = module(root)
    assert data.test_split == "test"
    assert [batch["index"].tolist() for batch in data.test_dataloader()] == [[8, 9, 10, 11]]
    assert data.samples[8] == Sample("test", "test/a/000.jpg", "a")


def test_options_that_divide_nothing_are_told_of(image_folder: Factory) -> None:
    root = image_folder({f"{split}/{name}": 2 for split in ("train", "val") for name in "ab"})
    with pytest.warns(UserWarning, match=r"data.test_fraction: 0.3 is not used: .* by its folders train and val"):
        assert module(root, test_fraction=0.3).test_split == "val"
    with pytest.warns(UserWarning, match="data.split: keras, data.val_fraction: 0.4 is not used"):
        assert len(module(root, split="keras", val_fraction=0.4).samples) == 8


def test_without_test_split_val_is_tested(root: Path) -> None:
    data = module(root)
    assert data.test_split == "val"
    assert next(iter(data.test_dataloader()))["index"].tolist() == [16, 17, 18, 19]
    assert module(root, test_fraction=0.2).test_split == "test"


@pytest.mark.parametrize("divided", [False, True])
def test_all_images_are_held_out_however_they_lie(image_folder: Factory, divided: bool) -> None:
    places = [f"{split}/" for split in ("train", "val", "test")] if divided else [""]
    root = image_folder({place + name: 3 for place in places for name in ("ants", "bees")})
    data = module(root, split="all")
    for loader, stage in ((data.val_dataloader, "validate"), (data.test_dataloader, "test")):
        data.setup(stage)
        assert flat([batch["index"].tolist() for batch in loader()]) == list(range(len(list(root.rglob("*.*")))))
    with pytest.raises(InputError, match=r"data.split: it holds every image out.* Received: all; to train, give strat"):
        data.setup("fit")


def test_a_split_file_needs_what_is_asked_for_alone(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("split,path,label\ntest,ants/000.jpg,ants\ntest,bees/000.jpg,bees\n")
    data = module(root, split=str(file))
    data.setup("test")
    assert [batch["index"].tolist() for batch in data.test_dataloader()] == [[0, 1]]
    with pytest.raises(InputError, match=r"split\.csv' leaves split val empty, which is to be measured\. Give a split"):
        data.setup("validate")
    with pytest.raises(InputError, match=r"split\.csv' leaves split train empty\. Both train and val need images"):
        data.setup("fit")
    with pytest.raises(InputError, match="leaves split train empty"):
        _ = data.trainable_classes
    file.write_text(file.read_text().replace("test,", "train,"))
    with pytest.raises(InputError, match="leaves split val empty, which is to be measured"):
        module(root, split=str(file)).setup("test")


@pytest.mark.parametrize("split", ["stratified", "keras"])
def test_a_written_split_can_be_given_back(root: Path, tmp_path: Path, split: str) -> None:
    first = module(root, split=split, seed=5)
    first.write_split(tmp_path / "split.csv")
    again = module(root, split=str(tmp_path / "split.csv"))
    assert again.samples == first.samples
    assert again.class_names == first.class_names


def test_predicting_needs_no_classes(image_folder: Factory, tmp_path: Path) -> None:
    root = image_folder({"some/where": 5})
    data, model = module(root), Mean()
    labels = trainer(tmp_path).predict(model, datamodule=data)
    assert data.predict_paths == tuple(str(path) for path in sorted(root.rglob("*.*")))
    assert model.seen["predict"] == [[0, 1, 2, 3], [4]]
    assert labels is not None
    assert torch.cat(labels).tolist() == [-1] * 5  # type: ignore[arg-type]


def test_predicting_one_file_and_skipping_a_bad_one(with_bad: Path) -> None:
    one = module(with_bad / "ants/000.jpg")
    one.setup("predict")
    assert [batch["index"].tolist() for batch in one.predict_dataloader()] == [[0]]
    with pytest.raises(InputError, match=r"ants/note\.jpg': its contents"):
        module(with_bad).setup("predict")
    skipping = module(with_bad, on_bad_image="skip")
    skipping.setup("predict")
    assert len(skipping.predict_paths) == 20
    assert [image.path for image in skipping.bad_images] == [str(with_bad / "ants/note.jpg")]


def fake(**options: Any) -> ImageFolderDataModule:
    arguments = {"size": 30, "image_size": [3, 10, 12], "num_classes": 3}
    return module(None, dataset=FAKE, dataset_args=arguments, **options)


def test_a_torchvision_dataset(tmp_path: Path) -> None:
    data, model = fake(test_fraction=0.2), Mean()
    runner = trainer(tmp_path)
    runner.fit(model, datamodule=data)
    runner.test(model, datamodule=data)
    runner.predict(model, datamodule=data)
    assert data.class_names == ("0", "1", "2")
    assert {sample.split for sample in data.samples} == {"train", "val", "test"}
    assert data.samples[model.seen["test"][0][0]].split == "test"
    assert flat(model.seen["predict"]) == list(range(len(data.predict_paths)))
    labels = {sample.path: sample.label for sample in data.samples}
    items = torch.utils.data.ConcatDataset([data._source.read.parts["train"]])  # type: ignore[attr-defined]
    assert all(labels[f"train/{n}"] == str(label) for n, (_, label) in enumerate(items))  # type: ignore[arg-type]


def test_all_of_a_torchvision_dataset() -> None:
    data = fake(split="all")
    assert len(data.predict_paths) == len(data.samples) == 30
    assert {sample.split for sample in data.samples} == {data.test_split} == {data.val_split} == {"test"}


def test_split_file_of_a_torchvision_dataset(tmp_path: Path) -> None:
    first = fake(seed=1)
    first.write_split(tmp_path / "split.csv")
    assert fake(split=str(tmp_path / "split.csv")).samples == first.samples
    with (tmp_path / "split.csv").open("a") as file:
        file.write("test,train/99,0\n")
    with pytest.raises(InputError, match="is of another data set: 1 unknown paths, 0 other labels, such as 'train/99'"):
        fake(split=str(tmp_path / "split.csv")).setup("fit")


class WithTest:
    """As CIFAR10 has it: a part of its own to test on, none to validate on."""

    classes = ("cat", "dog")

    def __init__(self, root: str, train: bool = True) -> None:
        self.targets = [0, 1] * (15 if train else 4)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        return Image.new("RGB", (9, 9), (position, 0, 0)), self.targets[position]


@pytest.mark.parametrize("test_fraction", [0.0, 0.2])
def test_the_test_part_of_a_data_set_is_all_that_is_tested(tmp_path: Path, test_fraction: float) -> None:
    data = module(tmp_path, dataset=f"{__name__}.WithTest", val_fraction=0.2, test_fraction=test_fraction)
    with pytest.warns(UserWarning, match="test_fraction: 0.2 is not used") if test_fraction else nullcontext():
        data.setup("test")
    assert {sample.path.partition("/")[0] for sample in data.samples if sample.split == "test"} == {"test"}
    counts = [sum(sample.split == split for sample in data.samples) for split in ("train", "val", "test")]
    assert counts == [24, 6, 8]


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_images_of_a_data_set_that_cannot_be_read_are_named_or_skipped(root: Path, cache: CacheMode) -> None:
    (root / "ants/zzz.png").write_text("junk")
    options: dict[str, Any] = {"dataset": "torchvision.datasets.ImageFolder", "cache": cache, "val_fraction": 0.2}
    skipping = module(root, on_bad_image="skip", **options)
    assert len(skipping.samples) == 20
    assert [bad.path for bad in skipping.bad_images] == ["train/10"]
    assert "cannot identify image file" in skipping.bad_images[0].reason
    with pytest.raises(InputError, match="train/10"):
        module(root, **options).pixels(range(21))


def test_a_file_of_kept_images_is_not_sent_to_other_processes(root: Path, tmp_path: Path) -> None:
    data = module(root, cache="disk", cache_folder=str(tmp_path / "cache"), image_size=96)
    expected = data.pixels([0, 5])
    sent = pickle.dumps(data)
    assert len(sent) < expected.nbytes
    assert torch.equal(pickle.loads(sent).pixels([0, 5]), expected)
