"""What a run folder says of its run before there are results: the config and the split."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from lightning_tl.data import ImageFolderDataModule
from lightning_tl.files import write_text
from lightning_tl.runfolder import release_claims, writing


class RunFiles(Callback):
    """Writes ``config.yaml`` and ``split.csv`` into the run folder when training starts.

    Not before: a start that is refused, as with the phases of another run, leaves those of the run it was to resume.

    Args:
        folder: of the run, whatever the loggers write to.
        config: contents of config.yaml.

    Raises:
        InputError: from ``Trainer.fit``; a file cannot be written.
    """

    def __init__(self, folder: Path, config: str) -> None:
        self.folder, self.config = folder, config
        self._written = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write them; the folder is no other run's from now on."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning at run time
        assert isinstance(data, ImageFolderDataModule)
        if trainer.is_global_zero:
            with writing(self.folder):
                write_text(self.folder / "config.yaml", self.config)
                data.write_split(self.folder / "split.csv")
            release_claims()
        self._written = True

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write them where nothing was left to train."""
        if not self._written:
            self.on_train_start(trainer, pl_module)
