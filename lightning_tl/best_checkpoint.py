"""The checkpoint of the lowest validation loss, and which file a fit has kept as its best."""

import copy
import pickle
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_tl.runfolder import BEST

FORGOTTEN = (
    "current_score", "best_k_models", "kth_best_model_path", "best_model_score", "best_model_path", "last_model_path",
    "kth_value", "_last_global_step_saved", "_last_checkpoint_saved",
)  # fmt: skip
"""What Lightning's ModelCheckpoint knows of the fit that it was in."""


def kept_as_best(trainer: lightning.Trainer) -> dict[str, int]:
    """Files that callbacks hold for the best, to when each was written, in nanoseconds."""
    kept = (
        Path(callback.best_model_path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path
    )
    return {str(path.resolve()): path.stat().st_mtime_ns for path in kept if path.is_file()}


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``: the lowest validation loss over all phases.

    Args:
        folder: of the checkpoints.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(dirpath=folder, filename=Path(BEST).stem, monitor="val_loss", enable_version_counter=False)
        self._stopping = False
        self._fresh = {name: vars(self)[name] for name in FORGOTTEN}

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Forget what another fit has kept: a run that is resumed brings its own."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            vars(self).update({name: copy.copy(value) for name, value in self._fresh.items()})

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Note whether the validation to come is one that the run does not have, see ``stops_inside_an_epoch``."""
        self._stopping = stops_inside_an_epoch(trainer)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save, if it is a validation of the run's: ``last.ckpt`` and what continues it do not know of the other."""
        if not self._stopping:
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The same, where Lightning saves at an epoch's end."""
        if not self._stopping:
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know the best so far in another folder too: Lightning would forget it and overwrite it.

        It is the file of that name in this folder where the run folder was moved, and stays where it was where the run
        goes on in a folder that has none, or one of another run.
        """
        folder = Path(str(self.dirpath))
        kept = {self._where(Path(path), folder, score): score for path, score in state_dict["best_k_models"].items()}
        path = next(iter(kept), "")
        known = {"dirpath": str(folder), "best_k_models": kept, "best_model_path": path, "kth_best_model_path": path}
        super().load_state_dict({**state_dict, **known})

    def _where(self, path: Path, folder: Path, score: Tensor) -> str:
        """Of the checkpoint that was saved as ``path`` with ``score``."""
        moved = folder / path.name
        elsewhere = path.is_file() and not _has_score(moved, self.state_key, score)
        return str(path if elsewhere else moved)


def stops_inside_an_epoch(trainer: lightning.Trainer) -> bool:
    """Whether training ends after this batch, which is not its epoch's last; Lightning validates then, too."""
    inside = not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return inside and trainer.should_stop and trainer.fit_loop._can_stop_early


def _has_score(path: Path, callback: str, score: Tensor) -> bool:
    """Whether ``path`` is the checkpoint that ``callback`` has saved as its best with ``score``."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return bool(content["callbacks"][callback]["best_model_score"] == score)
    except (OSError, RuntimeError, LookupError, TypeError, EOFError, pickle.UnpicklingError):
        return False  # not there, or no checkpoint of ours
