"""Where files are kept that can be made again."""

import os
import sys
from pathlib import Path

FOLDER_VARIABLE = "LIGHTNING_TL_CACHE"
"""Environment variable with that folder."""


def default_folder() -> Path | None:
    """``$LIGHTNING_TL_CACHE``, else ``lightning_tl`` where this system keeps caches; None for a user without a home."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "lightning_tl"
    try:
        home = Path.home()
    except RuntimeError:  # a user id that the system does not know, and no HOME
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "lightning_tl"
