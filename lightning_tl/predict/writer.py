"""Takes predictions from the trainer, of all ranks and in the order of the paths, and hands them on."""

from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from lightning_tl.data.dataset import PADDING
from lightning_tl.predict.progress import ProgressReport
from lightning_tl.predict.result import Chunks, Result
from lightning_tl.ranks import gather_values


class PredictionWriter(Callback):
    """Writes each step's predictions on the first rank; nothing of them is kept.

    Lightning's ``BasePredictionWriter`` is no base for it: that wants the indices of a sampler of Lightning's own.

    Args:
        result: where they go; used by the first rank alone.
        progress: what shows it, there too.
    """

    def __init__(self, result: Result | None, progress: ProgressReport) -> None:
        self.result, self.progress = result, progress

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to show the progress."""
        if trainer.is_global_zero:
            state = self.result.partial.state if isinstance(self.result, Chunks) else None
            self.progress.start(state.paths if state else 0, state.unreadable if state else 0)

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the rows."""
        entries = gather_values(list(zip(batch["path"], batch["reason"], strict=True)))
        if trainer.is_global_zero:
            self._write(entries, outputs)

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Tell the result that it is whole."""
        if trainer.is_global_zero:
            self.progress.stop()
            if self.result is not None:
                self.result.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal and the files in order."""
        self.progress.stop()
        if self.result is not None:
            self.result.drop()

    def _write(self, entries: list[tuple[str, str]], outputs: dict[str, Any]) -> None:
        real = (outputs["index"] != PADDING).cpu().numpy()
        probabilities = outputs["probabilities"].float().cpu().numpy()[real]
        kept = [entry for entry, is_real in zip(entries, np.asarray(real), strict=True) if is_real]
        assert self.result is not None
        self.result.write(kept, probabilities)
        self.progress.add(len(kept), sum(bool(reason) for _, reason in kept))
