"""The data of a run as a Lightning data module."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_tl.data.cache import CacheMode
from lightning_tl.data.check import BadImage, BadImagePolicy, apply_policy, find_bad_images
from lightning_tl.data.dataset import UNKNOWN_LABEL, FileReader, ImageDataset, Item, KeptImages
from lightning_tl.data.decode import ResizeMode
from lightning_tl.data.folder import Sample, list_images, listed
from lightning_tl.data.images import SourceImages, decoded_when_needed
from lightning_tl.data.loader import make_loader
from lightning_tl.data.options import ALL, BatchSizeIs, DataOptions
from lightning_tl.data.plain import plain
from lightning_tl.data.source import Source, open_source
from lightning_tl.data.split import check_measurable, check_trainable
from lightning_tl.data.split_file import write_split
from lightning_tl.data.summary import data_line, measured_line
from lightning_tl.errors import InputError
from lightning_tl.ranks import require_equal


def module_in_use(trainer: lightning.Trainer) -> LightningDataModule | None:
    """The data module of the present call, if it was given one; ``trainer.datamodule`` may be that of an earlier."""
    module: LightningDataModule | None = getattr(trainer._data_connector._datahook_selector, "datamodule", None)
    return module


class ImageFolderDataModule(LightningDataModule):
    """Images in folders, or a torchvision data set, as batches of uint8.

    A batch is a dict: ``image`` uint8 (batch, 3, height, width), ``label`` int64 (batch,), ``index`` int64
    (batch,), the position in the split file, or for prediction in ``predict_paths``. Labels to predict are
    -1.

    Args:
        root: ``root/<class>/*``, divided as ``split`` says, or ``root/{train,val[,test]}/<class>/*``, used as
            it is. For prediction any folder, or one image. With ``dataset``, where its files are.
        image_size: pixels, or [height, width].
        batch_size: images in a batch.
        batch_size_is: per_device, so that N devices take steps of N times as many images; or global, divided among
            the devices. Learning rates stay as they are given either way.
        split: stratified; keras, the very files that ``keras.utils.image_dataset_from_directory`` would
            choose; the path of a .csv file from an earlier run; or, to validate, test or predict, all: every image
            is held out, however root is divided.
        val_fraction: of the images for validation, in (0, 1).
        test_fraction: of the images for testing, in [0, 1); 0 tests on the validation images.
        resize: stretch, crop or pad, as Keras does each; see ``resize_image``.
        antialias: smooth images before making them smaller; Keras does not.
        on_bad_image: error, or skip files that cannot be decoded; either way each is decoded before training, of
            ``dataset`` only if it is to be skipped.
        num_workers: processes that read images, each decoding in one thread; 0, or where decoded images are kept: none.
        seed: of the split and of the order of each epoch, from 0 on; with ``split: keras`` below 2**32.
        dataset: class path of a torchvision data set, such as torchvision.datasets.Flowers102, instead of
            folders. Its own parts are used; where it has no val, that is divided from train.
        dataset_args: further arguments of ``dataset``.
        cache: where decoded and resized images are kept. disk: in a memory-mapped file, also for later runs, as long
            as they fit into ``cache_gb``; ram: in this process's memory; device: in the device's; none: they are
            decoded in every epoch. Images to predict are never kept, and those of ``dataset`` not on disk.
        cache_folder: of the files; by default $LIGHTNING_TL_CACHE, or the system's folder for caches.
        cache_gb: of all files in ``cache_folder`` together, in units of 1e9 bytes.

    Raises:
        InputError: an argument is out of range; what is wrong with the files shows when they are first
            needed.
    """

    def __init__(
        self,
        root: str | None = None,
        image_size: int | tuple[int, int] = 160,
        batch_size: int = 32,
        batch_size_is: BatchSizeIs = "per_device",
        split: str = "stratified",
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        resize: ResizeMode = "stretch",
        antialias: bool = False,
        on_bad_image: BadImagePolicy = "error",
        num_workers: int = 2,
        seed: int = 0,
        dataset: str | None = None,
        dataset_args: dict[str, Any] | None = None,
        cache: CacheMode = "disk",
        cache_folder: str | None = None,
        cache_gb: float = 10.0,
    ) -> None:
        super().__init__()
        given = (
            root, image_size, batch_size, batch_size_is, split, val_fraction, test_fraction, resize, antialias,
            on_bad_image, num_workers, seed, dataset, dataset_args or {}, cache, cache_folder, cache_gb,
        )  # fmt: skip
        self.options = DataOptions(*plain(given))
        # A checkpoint is read from other folders too, where these paths would be none or others.
        root = None if self.options.root is None else str(Path(self.options.root).absolute())
        file = self.options.split_file
        split = self.options.split if file is None else str(Path(file).absolute())
        self.save_hyperparameters(logger=False)  # the run logs the model's; equal names would have to be equal
        self.hparams.update(plain(self.hparams))
        self._bad_images: tuple[BadImage, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the labels; of folders, sorted."""
        return self._source.class_names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def batch_size(self) -> int:
        """Images in a batch, as ``batch_size_is`` has it; loaders made from then on have a new one.

        Lightning's ``Tuner.scale_batch_size`` and ``BatchSizeFinder`` set it. Raises InputError below 1.
        """
        return self.options.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self.options = replace(self.options, batch_size=plain(batch_size))
        self.hparams["batch_size"] = self.options.batch_size

    @property
    def device_batch_size(self) -> int:
        """Of one device. Raises InputError if a global one does not divide by the devices of the trainer."""
        return self.options.batch_size_on(self.trainer.world_size if self.trainer else 1)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """What the split file lists, in its order; the first use decodes every file once.

        Raises:
            InputError: files cannot be decoded (or, if they are to be skipped, too few are left, or none of a class).
        """
        source = self._source
        bad = self._without_bad(self._images.bad, len(source.samples))
        samples = tuple(sample for sample in source.samples if sample.path not in bad)
        lost = sorted({sample.label for sample in source.samples} - {sample.label for sample in samples})
        if lost:
            raise InputError(
                f"data.on_bad_image: no image of {listed(lost)} can be decoded, so nothing can be learned of it. "
                f"Replace the files, or take the folder out of {source.description}."
            )
        return samples

    @cached_property
    def predict_paths(self) -> tuple[str, ...]:
        """Images to predict: all below root, sorted; with ``dataset``, the paths of its ``test_split``."""
        if self.options.dataset:
            return tuple(sample.path for sample in self.samples if sample.split == self.test_split)
        paths = list_images(self.options.root or "")
        bad = self._without_bad(find_bad_images(paths), len(paths))
        return tuple(path for path in paths if path not in bad)

    @property
    def bad_images(self) -> tuple[BadImage, ...]:
        """Files left out by ``on_bad_image: skip``; empty before ``setup`` has looked for them."""
        return self._bad_images

    @property
    def test_split(self) -> str:
        """Which split ``test_dataloader`` gives: test, or val when there is no test."""
        return "test" if any(sample.split == "test" for sample in self.samples) else "val"

    @property
    def val_split(self) -> str:
        """Which split ``val_dataloader`` gives: val; with ``split: all`` test, in which every image is."""
        return "test" if self.options.split == ALL else "val"

    @property
    def trainable_classes(self) -> tuple[str, ...]:
        """As ``class_names``. Raises InputError unless train and val have images, and train of every class."""
        if self.options.split == ALL:
            raise InputError(
                "data.split: it holds every image out, for validate, test and predict. Received: all; to train, give "
                "stratified, keras or a split file."
            )
        check_trainable(self._source.samples, self._source.description)
        return self.class_names

    def summary(self, stage: str) -> str:
        """Lines for people on what there is and, for stages validate and test, which images are measured."""
        undivided = self.options.split == ALL
        lines = [data_line(self.samples, self.class_names, undivided)]
        if stage in ("validate", "test"):
            split, where = self._measured(stage), self.options.dataset or str(self.options.root)
            count = sum(sample.split == split for sample in self.samples)
            lines.append(measured_line(stage, count, split, where, undivided))
        return "\n".join(lines)

    def write_split(self, path: str | Path) -> None:
        """Write the split in use to a CSV that ``split`` takes. Raises OSError if it cannot be written."""
        write_split(path, self.samples)

    def setup(self, stage: str) -> None:
        """Find the images and decode each once. Raises InputError for what is wrong with them or the batch size.

        Args:
            stage: fit; validate or test, which need images of the split that they measure alone; or predict, which
                needs no classes.
        """
        _ = self.device_batch_size
        if stage == "predict":
            _ = self.predict_paths
        elif stage == "fit":
            _ = self.trainable_classes
            check_trainable(self.samples, f"{self._source.description}, without images that cannot be decoded,")
        else:
            check_measurable(self.samples, self._measured(stage), self._source.description)

    def require_same_on_all_ranks(self) -> None:
        """Raise InputError where another rank has found other images, or divides them otherwise; all must call it."""
        lines = (f"{sample.split}: {sample.path} ({sample.label})" for sample in self.samples)
        require_equal(f"{self._source.description}: images", lines)

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches of train in the order of the epoch."""
        return self._loader(self._dataset("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader[Item]:
        """Batches of ``val_split`` in the order of the split file."""
        return self._loader(self._dataset(self.val_split), shuffle=False)

    def test_dataloader(self) -> DataLoader[Item]:
        """Batches of ``test_split`` in the order of the split file."""
        return self._loader(self._dataset(self.test_split), shuffle=False)

    def predict_dataloader(self) -> DataLoader[Item]:
        """Batches of ``predict_paths`` in their order."""
        paths = self.predict_paths
        reader = self._images.read if self.options.dataset else FileReader()
        dataset = decoded_when_needed(self.options, reader, paths, [UNKNOWN_LABEL] * len(paths), range(len(paths)))
        return self._loader(dataset, shuffle=False)

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """Samples by their index, as loaders give them: uint8 (len(indices), 3, height, width), on the CPU.

        Raises:
            InputError: a file can no longer be decoded.
        """
        return self._images.pixels([self.samples[index].path for index in indices])

    @cached_property
    def _source(self) -> Source:
        return open_source(self.options)

    @cached_property
    def _images(self) -> SourceImages:
        return SourceImages(self._source, self.options)

    def _measured(self, stage: str) -> str:
        """The split that validate or test measures."""
        return self.val_split if stage == "validate" else self.test_split

    def _without_bad(self, bad: tuple[BadImage, ...], total: int) -> set[str]:
        """Paths to leave out, as the policy has it."""
        apply_policy(bad, total, self.options.on_bad_image)
        self._bad_images += bad
        return {image.path for image in bad}

    def _dataset(self, split: str) -> ImageDataset | KeptImages:
        label_of = {name: label for label, name in enumerate(self.class_names)}
        chosen = [(index, sample) for index, sample in enumerate(self.samples) if sample.split == split]
        paths = [sample.path for _, sample in chosen]
        labels, indices = [label_of[sample.label] for _, sample in chosen], [index for index, _ in chosen]
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return self._images.dataset(paths, labels, indices, device)

    def _loader(self, dataset: ImageDataset | KeptImages, shuffle: bool) -> DataLoader[Item]:
        return make_loader(dataset, self.device_batch_size, shuffle, self.options, self.trainer)
