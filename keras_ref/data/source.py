"""Where the samples come from: folders, divided as the config says.

differs: lightning_tl also takes torchvision data sets.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from keras_ref.data.check import BadImagePolicy, apply_policy, find_bad_images
from keras_ref.data.folder import Sample, check_root, has_split_folders, scan
from keras_ref.data.split import check_trainable, keras_split, stratified_split
from keras_ref.data.split_file import read_split
from keras_ref.options import DataConfig


@dataclass(frozen=True)
class Source:
    """Samples divided into splits.

    Attributes:
        samples: in the order of the split file.
        class_names: in the order of the labels.
        root: folder of the samples' paths.
    """

    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    root: Path

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
    root = check_root(options.root or "")
    found = _divided(root, options, seed)
    names = tuple(sorted({sample.label for sample in found}))
    description = f"Split file {options.split_file!r}" if options.split_file else f"data.root {str(root)!r}"
    check_trainable(found, description)
    bad = find_bad_images([sample.path for sample in found], root)
    apply_policy(bad, len(found), cast(BadImagePolicy, options.on_bad_image))
    left_out = {image.path for image in bad}
    samples = tuple(sample for sample in found if sample.path not in left_out)
    check_trainable(samples, f"{description}, without images that cannot be decoded,")
    return Source(samples, names, root)


def _divided(root: Path, options: DataConfig, seed: int) -> tuple[Sample, ...]:
    if options.split_file:
        return read_split(options.split_file, root)
    if has_split_folders(root):
        return scan(root)
    if options.split == "keras":
        return keras_split(root, options.val_fraction, seed)
    return stratified_split(scan(root), options.val_fraction, options.test_fraction, seed)
