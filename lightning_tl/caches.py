"""Where files are kept that can be made again."""

import os
import sys
from pathlib import Path

FOLDER_VARIABLE = "LIGHTNING_TL_CACHE"
"""Environment variable with that folder."""


def default_folder() -> Path:
    """``$LIGHTNING_TL_CACHE``, else ``lightning_tl`` where this system keeps caches."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given)
    caches = os.environ.get("XDG_CACHE_HOME")
    home = Path.home()
    return (Path(caches) if caches else home / ("Library/Caches" if sys.platform == "darwin" else ".cache")) / (
        "lightning_tl"
    )
