"""Lists of the command line, which replace those before them."""

from typing import Any


def take_whole(action: Any) -> None:
    """Have a list that is given replace the one before it; ``--list+`` still appends.

    jsonargparse would lay a list of as many items over that one item by item: a phase that is given anew would keep the
    early stopping, schedule and layers of the one in its place, and with another number of phases it would not.

    Args:
        action: jsonargparse's, of a list.
    """
    check = action._check_type

    def check_alone(value: Any, append: bool = False, cfg: Any = None, mode: Any = None) -> Any:
        return check(value, append=append, cfg=cfg if append else None, mode=mode)

    action._check_type = check_alone
