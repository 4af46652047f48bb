"""Pictures that look the same though their bytes differ: saved anew in another size, format or quality."""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from lightning_tl.report.pictures import small_picture

if TYPE_CHECKING:  # imported where images are looked at: a report without them begins sooner
    import numpy as np
    from numpy.typing import NDArray

SIDE = 16
"""Pixels a side of what is compared, in RGB."""
ALIKE = 0.995
"""Correlation of two pictures' values from which on they count as one.

Of 4,064 photographs of flowers different ones correlate by up to 0.992; JPEGs saved anew at quality 30 by 0.9957 and
more, halved ones by 0.995 and more in 98.5 %, those stretched to a square in 97 % to all
(tests/report/test_lookalikes.py).
"""
FLAT = 1e-3
"""Standard deviation of values in [0, 255] below which there is nothing to correlate."""
BLOCK = 2048
"""Pictures compared with all others at a time, so that memory stays bounded."""

Look: TypeAlias = "NDArray[np.float32] | None"


def alike(paths: Sequence[Path]) -> list[list[int]]:
    """Groups of positions in ``paths`` whose pictures look the same, perhaps by way of others between them.

    Args:
        paths: files; those that are no image, or of one colour, are like no other.
    """
    import numpy as np

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = {place: seen for place, seen in enumerate(pool.map(look, paths)) if seen is not None}
    if not looks:
        return []
    groups: dict[int, list[int]] = defaultdict(list)
    for place, group in zip(looks, _grouped(np.stack(list(looks.values()))), strict=True):
        groups[group].append(place)
    return [group for group in groups.values() if len(group) > 1]


def look(path: Path) -> Look:
    """The picture as ``SIDE`` x ``SIDE`` RGB values less their mean, of length 1, shape (3 * SIDE * SIDE,).

    None where the file is no image, or one of a single colour.
    """
    import numpy as np

    picture = small_picture(path, 4 * SIDE)
    if picture is None:
        return None
    values = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return None if length < FLAT * values.size**0.5 else (values / length).astype(np.float32)


def _grouped(looks: "NDArray[np.float32]") -> list[int]:
    """The number of each look's group."""
    import numpy as np

    groups = np.arange(len(looks))
    for start in range(0, len(looks), BLOCK):
        likeness = looks[start : start + BLOCK] @ looks.T  # lengths are 1: the correlation
        for row in likeness[(likeness >= ALIKE).sum(axis=1) > 1]:  # all but those that are like themselves alone
            joined = np.unique(groups[row >= ALIKE])
            groups[np.isin(groups, joined)] = joined[0]
    return [int(group) for group in groups]
