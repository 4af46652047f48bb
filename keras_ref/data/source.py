"""Where the samples come from: folders or the digits, divided as the config says.

differs: lightning_tl also takes torchvision data sets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from keras_ref.data.check import BadImagePolicy, apply_policy, find_bad_images
from keras_ref.data.decode import Pixels, decode_image
from keras_ref.data.digits import CLASSES, open_digits
from keras_ref.data.folder import Sample, check_root, has_split_folders, listed, scan
from keras_ref.data.split import check_trainable, keras_split, stratified_split
from keras_ref.data.split_file import read_split
from keras_ref.errors import InputError
from keras_ref.options import DataConfig


@dataclass(frozen=True)
class Source:
    """Samples divided into splits.

    Attributes:
        samples: in the order of the split file.
        class_names: in the order of the labels.
        root: folder of the samples' paths.
        images: pixels by path where the samples are in no files.
    """

    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    root: Path
    images: Mapping[str, Pixels] = field(default_factory=dict)

    def read(self, path: str) -> Pixels:
        """The image of a sample's path: uint8 RGB, (height, width, 3)."""
        return self.images[path] if path in self.images else decode_image(self.root / path)

    @property
    def test_split(self) -> str:
        """Which split is tested: test, or val when there is no test."""
        return "test" if any(sample.split == "test" for sample in self.samples) else "val"

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class position of each sample, (samples,)."""
        return np.array([self.class_names.index(sample.label) for sample in self.samples], dtype=np.int64)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Positions in the split file of the samples of one split, ascending."""
        return np.flatnonzero([sample.split == split for sample in self.samples])


def open_source(options: DataConfig, seed: int) -> Source:
    """Find and divide the samples, and decode each once.

    Raises:
        InputError: whatever is wrong with the folders, the split file or the images.
    """
    if options.dataset:
        return _digits(options, seed)
    root = check_root(options.root or "")
    found = _divided(root, options, seed)
    names = tuple(sorted({sample.label for sample in found}))
    description = f"Split file {options.split_file!r}" if options.split_file else f"data.root {str(root)!r}"
    check_trainable(found, description)
    bad = find_bad_images([sample.path for sample in found], root)
    apply_policy(bad, len(found), cast(BadImagePolicy, options.on_bad_image))
    left_out = {image.path for image in bad}
    samples = tuple(sample for sample in found if sample.path not in left_out)
    lost = sorted(set(names) - {sample.label for sample in samples})
    if lost:
        raise InputError(
            f"data.on_bad_image: no image of {listed(lost)} can be decoded, so nothing can be learned of it. "
            f"Replace the files, or take the folder out of {description}."
        )
    check_trainable(samples, f"{description}, without images that cannot be decoded,")
    return Source(samples, names, root)


def _digits(options: DataConfig, seed: int) -> Source:
    """The digits, divided; a split file must be of them."""
    found, images = open_digits()
    if options.split_file:
        chosen, labels = read_split(options.split_file, root=None), {sample.path: sample.label for sample in found}
        if strangers := [sample for sample in chosen if labels.get(sample.path) != sample.label]:
            raise InputError(f"Split file {options.split_file!r} is of another data set: {strangers[0].path!r}.")
    else:
        chosen = stratified_split(found, options.val_fraction, options.test_fraction, seed)
    check_trainable(chosen, f"data.dataset {options.dataset}")
    return Source(chosen, CLASSES, Path(), images)


def _divided(root: Path, options: DataConfig, seed: int) -> tuple[Sample, ...]:
    if options.split_file:
        return read_split(options.split_file, root)
    if has_split_folders(root):
        return scan(root)
    if options.split == "keras":
        return keras_split(root, options.val_fraction, seed)
    return stratified_split(scan(root), options.val_fraction, options.test_fraction, seed)
