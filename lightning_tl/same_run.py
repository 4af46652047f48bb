"""What a checkpoint and the run that takes it up must have in common."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_tl.errors import InputError

NETWORK = ("backbone", "backbone_args", "convention")
"""Arguments of the model without which a checkpoint's weights mean something else, or fit nothing."""
RUN = ("image_size", "seed")
"""Those that a run has one of, from its first epoch to its last ..."""
PIXELS = ("resize", "antialias")
"""... and of its data."""
TRAINING = ("dropout", "augment", "fused", "class_weights", "label_smoothing")
"""Those that may change, but seldom do so on purpose."""
ADVICE = "give the run's own arguments: its config.yaml has them all (--config RUN/config.yaml)."


def check_classes(whose: str, known: Sequence[str], given: Sequence[str]) -> None:
    """Raise InputError, whose message begins with ``whose``, unless the data's classes are those that are known."""
    if tuple(given) == tuple(known):
        return
    both = f"{whose} knows the classes {', '.join(known)}; the data has {', '.join(given)}"
    if sorted(given) == sorted(known):
        raise InputError(
            f"{both}: the same in another order, by which labels are numbered. Folders are sorted by name, a data set "
            "has an order of its own: give images as the run had them, by folders or by data.dataset."
        )
    raise InputError(f"{both}. Use data with the same class folders; predict needs none.")


def check_network(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """See that weights go into the network that they are of.

    Args:
        theirs: hyperparameters of the checkpoint's model; of an earlier version it may lack some.
        ours: of the model that loads it.

    Raises:
        InputError: it is another one.
    """
    _refuse(NETWORK, "model", theirs, ours, "and its weights would compute something else")


def check_run(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], their_data: Mapping[str, Any], our_data: Mapping[str, Any]
) -> None:
    """See that a run goes on as it was begun; what may change is told in a warning.

    Args:
        theirs: hyperparameters of the checkpoint's model.
        ours: of the model that goes on.
        their_data: hyperparameters of the checkpoint's data module; empty where it had none.
        our_data: likewise.

    Raises:
        InputError: another image size or seed, or images that are resized otherwise.
    """
    _refuse(RUN, "model", theirs, ours, "and a run has one")
    _refuse(PIXELS, "data", their_data, our_data, "and a run has one")
    changed = [name for name in TRAINING if name in theirs and _form(theirs[name]) != _form(ours.get(name))]
    if changed:
        told = "; ".join(f"{name} was {theirs[name]!r}, and is {ours.get(name)!r}" for name in changed)
        warnings.warn(f"ckpt_path: the run goes on otherwise than it was begun: {told}.", stacklevel=2)


def _refuse(names: tuple[str, ...], of: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], since: str) -> None:
    for name in (name for name in names if name in theirs and name in ours):
        if _form(theirs[name]) != _form(ours[name]):
            raise InputError(
                f"ckpt_path: the checkpoint's {of}.{name} is {theirs[name]!r}, {since}. Received: {ours[name]!r}; "
                f"{ADVICE}"
            )


def _form(value: Any) -> Any:
    """In which equal ones compare equal."""
    if isinstance(value, Mapping):
        return {key: _form(item) for key, item in value.items()} or None
    return [_form(item) for item in value] or None if isinstance(value, (list, tuple)) else value
