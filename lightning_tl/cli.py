"""The command line: LightningCLI with phases, run folders and checkpoints that need no config."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lightning_tl import runfolder
from lightning_tl.arguments import DEFAULT_ROOT, PROGRAM, TransferArguments, root_of_runs
from lightning_tl.best_checkpoint import BestCheckpoint
from lightning_tl.checkpoint import CheckpointInfo, find_info, saved_state
from lightning_tl.classifier import TransferClassifier
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.data.options import SPLIT_METHODS
from lightning_tl.devices import check_strategy_name
from lightning_tl.errors import InputError, printable
from lightning_tl.finish import finish_fit, finish_predict
from lightning_tl.logger import MetricsLogger, event_logger
from lightning_tl.phase import make_phases
from lightning_tl.phases import PhasedFinetuning, results_from
from lightning_tl.predict.inputs import PathStream
from lightning_tl.predict.request import STDOUT
from lightning_tl.predict.run import predict_paths
from lightning_tl.progress import RunProgressBar, phase_table
from lightning_tl.ranks import is_first_process
from lightning_tl.runfiles import RunFiles
from lightning_tl.saving import LastCheckpoint, RunCheckpointIO
from lightning_tl.split_of_run import require_held_out, warn_of_trained

DEFAULT_SEED = 0
ENDED_BY_SIGTERM = 128 + 15  # as shells tell of a process that a signal has ended
# Resuming in the run's own folder is what we want.
warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")


class TransferCLI(TransferArguments):
    """``fit``, ``validate``, ``test`` and ``predict`` for ``TransferClassifier``.

    ``fit`` builds the model from the config and takes classes and image size from the data; the other commands
    build it from ``--ckpt_path`` alone. Each run has a folder of its own.
    """

    run_folder: Path
    datamodule: ImageFolderDataModule
    model: TransferClassifier

    def before_instantiate_classes(self) -> None:
        """Choose the run folder before anything is built, so that a bad one costs no time."""
        settings = self.config[self.subcommand]
        trainer = settings.trainer
        check_strategy_name(trainer.strategy)
        if trainer.barebones:
            raise InputError("trainer.barebones: it forbids the logs and checkpoints of a run. Leave it out.")
        root = root_of_runs(trainer)
        self._given = root, settings.data.split
        if self.subcommand == "fit" and not settings.phases:
            if settings.ckpt_path is not None:
                raise InputError(
                    "phases: none given. A run goes on by its own config: lightning-tl fit --config RUN/config.yaml "
                    "--ckpt_path RUN/checkpoints/last.ckpt."
                )
            make_phases([])
        if self.subcommand == "fit" and settings.ckpt_path is not None:
            self.checkpoint = find_info(settings.ckpt_path, root)
            settings.ckpt_path = None  # config.yaml runs the whole run again
            self._use_split_of_run(settings.data)
            method = self.checkpoint.data.get("split")
            if settings.data.split != self._given[1] and method in SPLIT_METHODS:
                self._given = root, method
        without = self.subcommand in ("validate", "test") or self.paths is not None
        if trainer.fast_dev_run or without or not is_first_process():
            trainer.default_root_dir = root
            self.run_folder = Path(root)  # of other ranks: until the first has told them its choice
            return
        if self.checkpoint is not None and self.subcommand == "fit":
            self.run_folder = runfolder.run_folder_of(self.checkpoint.path)
            runfolder.check_writable(self.run_folder)
        else:
            self.run_folder = runfolder.choose_run_folder(root)
        trainer.default_root_dir = str(self.run_folder)

    def instantiate_classes(self) -> None:
        """Build everything for ``fit``; else data and trainer, and the model from the checkpoint."""
        if self.subcommand == "fit":
            super().instantiate_classes()
            return
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule = self._get(self.config_init, "data")
        self.model = TransferClassifier.load_from_checkpoint(
            self.config[self.subcommand].ckpt_path, map_location="cpu", weights_only=True, augment=[]
        )
        if self.subcommand != "predict":
            assert self.checkpoint is not None
            self.checkpoint.require_classes(self.datamodule.class_names)
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer with the run folder's loggers, checkpoints and phases, unless the config has its own."""
        config = self._get(self.config_init, "trainer")
        if self.subcommand == "fit":
            self.phases = PhasedFinetuning(self._get(self.config_init, "phases"))
            extra: list[Callback] = [self.phases]
            if not config.fast_dev_run:
                settings = self.config[self.subcommand]
                extra.append(RunFiles(self.run_folder, self._config_text(settings)))
            if not config.fast_dev_run and config.enable_checkpointing is not False:
                every = self._get(self.config_init, "checkpoint_every_n_steps")
                extra += run_checkpoints(self.run_folder, every)
                kwargs["plugins"] = [*_as_list(config.plugins), RunCheckpointIO()]
            if config.logger in (None, True) and not config.fast_dev_run:
                kwargs["logger"] = run_loggers(self.run_folder, self.checkpoint)
            config.max_epochs = -1 if config.max_epochs is None else config.max_epochs
        else:
            extra, kwargs["logger"] = [], False
            if self.paths is not None:  # they have a progress report of their own
                kwargs["enable_progress_bar"] = False
                config.callbacks = [each for each in _as_list(config.callbacks) if not isinstance(each, ProgressBar)]
        wanted = kwargs.get("enable_progress_bar", config.enable_progress_bar)
        if wanted is not False and not _has_bar(config.callbacks):
            extra.append(RunProgressBar())
        try:
            return self._instantiate_trainer({**config, **kwargs}, extra)
        except InputError:
            raise
        except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:  # what Trainer says of arguments
            raise InputError(f"trainer: {error}") from error

    def _config_text(self, settings: Any) -> str:
        """Contents of config.yaml, with paths as they were given: a resumed run, too, can be moved with its images."""
        root, split = self._given
        kept = settings.clone()
        kept.data.split = split
        if not Path(root).is_absolute() and self.run_folder.is_relative_to(Path.cwd()):
            kept.trainer.default_root_dir = str(self.run_folder.relative_to(Path.cwd()))
        kept.pop("ckpt_path")  # None there would undo a --ckpt_path that is given before --config
        text: str = self._parser(self.subcommand).dump(kept, skip_none=False)
        return text

    def _run_subcommand(self, subcommand: str) -> None:
        """As Lightning does. Raises KeyboardInterrupt after Ctrl-C, which its trainer makes an exit with status 1."""
        try:
            super()._run_subcommand(subcommand)
        except (KeyboardInterrupt, SystemExit) as ended:
            if isinstance(ended, SystemExit) and not isinstance(ended.__context__, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt("interrupted" + self._what_continues()) from ended

    def _what_continues(self) -> str:
        """Of an interrupted command, for the end of its last words."""
        if self.paths is not None:
            return "; the same command continues" if self.request.continues else ""
        if not is_first_process():  # which says it, and may have chosen another folder than these know
            return ""
        last = self.run_folder / "checkpoints" / runfolder.LAST
        saves = self.subcommand == "fit" and any(isinstance(each, LastCheckpoint) for each in self.trainer.callbacks)  # type: ignore[attr-defined]
        return f"; {last} continues the run" if saves and last.is_file() else ""

    def before_fit(self) -> None:
        """Everything that could fail for want of room or data, or as of another run, fails now."""
        if self.checkpoint is not None:
            self.checkpoint.require_classes(self.datamodule.class_names)
            if state := saved_state(self.checkpoint.path, self.phases.state_key):
                self.phases.load_state_dict(state)  # which without a trainer only looks whether they are its phases
        if not self.trainer.fast_dev_run and is_first_process():  # type: ignore[attr-defined]  # set at run time
            with runfolder.writing(self.run_folder):
                runfolder.check_space(self.run_folder, self.model)
        self._tell_data("fit")
        if self.checkpoint is not None:  # now that the first process has decoded the images
            require_held_out(self.checkpoint, self.datamodule.samples)

    def before_validate(self) -> None:
        """Tell which images are measured."""
        self._tell_data("validate")

    def before_test(self) -> None:
        """Tell which images are measured."""
        self._tell_data("test")

    def _tell_data(self, stage: str) -> None:
        """Print it in the first process, which decodes the images before there are others that want them."""
        if not is_first_process():
            return
        self.datamodule.setup(stage)
        if stage != "fit" and self.checkpoint is not None:
            split = self.datamodule.test_split if stage == "test" else self.datamodule.val_split
            warn_of_trained(self.checkpoint, self.datamodule, split)
        limit = {"validate": "limit_val_batches", "test": "limit_test_batches"}.get(stage)
        batches = getattr(self.trainer, limit) if limit else 1.0
        fewer = "" if isinstance(batches, float) and batches == 1 else f" (trainer.{limit}: {batches})"
        print(printable(self.datamodule.summary(stage)) + fewer, flush=True)

    def fit(self, **kwargs: Any) -> None:
        """Train, from the checkpoint if one was given."""
        path = None if self.checkpoint is None else str(self.checkpoint.path)
        self.trainer.fit(**{**kwargs, "ckpt_path": path, "weights_only": True})

    def after_fit(self) -> None:
        """Evaluate the best checkpoint and write what the run leaves behind."""
        if self.trainer.fast_dev_run or self.trainer.interrupted:  # type: ignore[attr-defined]
            return
        self.run_folder = Path(self.trainer.strategy.broadcast(str(self.run_folder)))
        phases, last = self.phases.results(), self.run_folder / "checkpoints" / runfolder.LAST
        if not phases and last.is_file():  # trained in other processes, whose callback has stayed there
            phases = results_from(last)
        pictures = self._get(self.config_init, "pictures")
        values = finish_fit(self.trainer, self.model, self.datamodule, self.run_folder, phases, pictures)
        if self.trainer.is_global_zero:
            test = values["test"]
            if phases:
                phase_table(phases)
            weights = "last weights" if values["checkpoint_sha256"] is None else "best checkpoint"
            print(f"accuracy of the {weights} on the {test['split']} split: {test['accuracy']:.4f}")
            print(f"run folder: {self.run_folder}")

    def validate(self, **kwargs: Any) -> None:
        """Validate the checkpoint; the weights are in the model already."""
        self.trainer.validate(self.model, datamodule=self.datamodule, verbose=kwargs["verbose"])

    def test(self, **kwargs: Any) -> None:
        """Test the checkpoint on the test split, or on the validation split where there is none."""
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=kwargs["verbose"])

    def predict(self, **kwargs: Any) -> None:
        """Write predictions.csv for every image under the root, or what was asked for of the PATHs."""
        if self.paths is not None:
            self._predict_paths(self.paths)
            return
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]  # which leaves nothing behind
            self.trainer.predict(self.model, datamodule=self.datamodule)
            return
        output = finish_predict(self.trainer, self.model, self.datamodule, self.run_folder)
        if self.trainer.is_global_zero:
            print(f"predictions: {output}")

    def _predict_paths(self, paths: PathStream) -> None:
        settings = self.config[self.subcommand]
        shown = settings.trainer.enable_progress_bar is not False
        options, checkpoint = self.datamodule.options, Path(settings.ckpt_path)
        done = predict_paths(self.trainer, self.model, options, checkpoint, paths, self.request, shown)
        if done:
            print(printable(done), file=sys.stderr if self.request.output == STDOUT else sys.stdout)


def run_checkpoints(run_folder: Path, every_n_steps: int = 0) -> list[Callback]:
    """Best (lowest validation loss over all phases) and last checkpoint of a run."""
    folder = run_folder / "checkpoints"
    return [BestCheckpoint(folder), LastCheckpoint(folder, every_n_steps)]


def run_loggers(run_folder: Path, resumed: CheckpointInfo | None = None) -> list[Logger]:
    """metrics.csv and TensorBoard events, in the run folder itself, from the checkpoint on written anew."""
    step, stopped_in = (0, None) if resumed is None else (resumed.global_step, resumed.stopped_in_epoch)
    return [MetricsLogger(run_folder, step, stopped_in), event_logger(run_folder, step)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Raises InputError for bad input, told by ``command.main``."""
    try:
        TransferCLI(
            TransferClassifier,
            ImageFolderDataModule,
            seed_everything_default=DEFAULT_SEED,
            trainer_defaults={"default_root_dir": DEFAULT_ROOT, "log_every_n_steps": 10},
            save_config_callback=None,  # RunFiles does that
            parser_kwargs={"prog": PROGRAM, "exit_on_error": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=None if args is None else list(args),
        )
    except SIGTERMException as ended:
        print(f"lightning-tl: {str(ended) or 'ended by SIGTERM'}", file=sys.stderr)
        # Lightning kills the process that has started the others on one machine where one of those reports a failure.
        return ENDED_BY_SIGTERM if os.environ.get("LOCAL_RANK", "0") == "0" else 0
    finally:
        runfolder.release_claims()
    return 0


def _has_bar(callbacks: Any) -> bool:
    """Whether the config brings a progress bar of its own."""
    return any(isinstance(callback, ProgressBar) for callback in _as_list(callbacks))


def _as_list(value: Any) -> list[Any]:
    """One value or several, as Trainer takes them."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
