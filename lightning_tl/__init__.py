"""Transfer learning for images on PyTorch Lightning, proven equal to the Keras recipe it re-implements."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lightning_tl.importing import import_uncollected

if TYPE_CHECKING:
    from lightning_tl.classifier import TransferClassifier
    from lightning_tl.data import ImageFolderDataModule
    from lightning_tl.errors import InputError
    from lightning_tl.finish import finish_fit
    from lightning_tl.optim import KerasAdam
    from lightning_tl.phase import Phase
    from lightning_tl.phases import PhasedFinetuning

__version__ = version("lightning-tl")

_HOME = {
    "ImageFolderDataModule": "data",
    "InputError": "errors",
    "KerasAdam": "optim",
    "Phase": "phase",
    "PhasedFinetuning": "phases",
    "TransferClassifier": "classifier",
    "finish_fit": "finish",
}

__all__ = [
    "ImageFolderDataModule",
    "InputError",
    "KerasAdam",
    "Phase",
    "PhasedFinetuning",
    "TransferClassifier",
    "finish_fit",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: importing torch takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_uncollected(f"{__name__}.{_HOME[name]}"), name)
