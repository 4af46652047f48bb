"""What a run trains on, in a line for people.

differs: lightning_tl also validates and tests by commands of their own, which say what they measure.
"""

from collections import Counter

from keras_ref.data.folder import SPLITS
from keras_ref.data.source import Source

NAMED = 5
"""Classes, the first of which are named where there are more."""


def data_line(source: Source) -> str:
    """How many images of which classes there are, and how they are divided."""
    names, count = source.class_names, len(source.samples)
    shown = [name if name.isprintable() else repr(name) for name in names[:NAMED]]
    shown += ["..."] * (len(names) > NAMED)
    counts = Counter(sample.split for sample in source.samples)
    divided = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    return f"data: {count} image{'s' * (count != 1)} of {len(names)} classes ({', '.join(shown)}): {divided}"
