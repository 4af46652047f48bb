"""What a command trains on or measures, in lines for people."""

from collections import Counter
from collections.abc import Sequence

from lightning_tl.data.folder import SPLITS, Sample

NAMED = 5
"""Classes, the first of which are named where there are more."""


def data_line(samples: Sequence[Sample], names: Sequence[str], undivided: bool = False) -> str:
    """How many images of which classes there are, and how they are divided, if they are."""
    shown = [*map(_plain, names[:NAMED]), *["..."] * (len(names) > NAMED)]
    counts = Counter(sample.split for sample in samples)
    divided = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    parts = "not divided" if undivided else divided
    return f"data: {_images(len(samples))} of {len(names)} classes ({', '.join(shown)}): {parts}"


def measured_line(stage: str, count: int, split: str, where: str, undivided: bool = False) -> str:
    """Which images ``validate`` or ``test`` measures.

    Args:
        stage: validate or test.
        count: of the images.
        split: that they are.
        where: the root or the data set they are of.
        undivided: they are all images there.
    """
    if undivided:
        return f"{stage}: all {_images(count)} of {_plain(where)}"
    why = ", which has no test split" * (stage == "test" and split == "val")
    return f"{stage}: the {_images(count)} of split {split} of {_plain(where)}{why}"


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _plain(name: str) -> str:
    """A name that stays on its line, whatever it holds."""
    return name if name.isprintable() else repr(name)
