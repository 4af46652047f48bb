"""What the command line takes: the parsers of its commands, and what a checkpoint adds to what was given."""

import argparse
import sys
from typing import Any

import lightning
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from lightning_tl.checkpoint import CheckpointInfo, find_info
from lightning_tl.classifier import TransferClassifier
from lightning_tl.config_files import check_config_files
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.data.options import DIVISION
from lightning_tl.errors import InputError
from lightning_tl.files import at_home
from lightning_tl.option_errors import check_lists_whole, refusal
from lightning_tl.phase import Phase
from lightning_tl.predict.inputs import PathStream
from lightning_tl.predict.request import Request, add_request, check_no_request, check_root_absent, make_request
from lightning_tl.predict.words import divide_words
from lightning_tl.split_of_run import keep_fractions, keep_split, same_path
from lightning_tl.values import checked_seed
from lightning_tl.whole_lists import take_whole

DEFAULT_ROOT = "runs"
PROGRAM = "lightning-tl"

PIXEL_SETTINGS = ("image_size", "resize", "antialias")
"""Data settings of a checkpoint that new images need."""

FIT_ONLY = ("model", "phases", "checkpoint_every_n_steps", "pictures")
"""Blocks of a config that other commands accept and leave alone: the checkpoint knows them."""

LISTS = ("phases", "model.augment")
"""Fields of a config that are lists."""

HELP = {
    "ckpt_path": "a checkpoint file; or best or last, that of the newest run in trainer.default_root_dir or its run_N "
    "folders. fit goes on from it, the others take weights, classes and data settings from it",
    "seed_everything": "0 to 2**32 - 1; of the division of the images, augmentation, dropout and the initial head",
    "weights_only": "without effect: checkpoints are tensors and plain values, and nothing else is ever loaded",
    "trainer.default_root_dir": "the run folder if it is new or empty, else run_N inside it; a local path",
    "trainer.max_epochs": "left out: each phase's epochs say how long a run is",
    "trainer.max_steps": "refused: phases last whole epochs; trainer.limit_train_batches makes a short trial",
    "trainer.max_time": "of a run, all its starts together, as 00:12:00:00 for half a day; it then saves and stops",
    "trainer.logger": "false for none; by default metrics.csv and TensorBoard's events in the run folder",
}
"""In place of Lightning's own words, where something else is so here."""


class TransferArguments(LightningCLI):
    """The part of ``TransferCLI`` that reads the command line.

    Attributes:
        checkpoint: that ``--ckpt_path`` names; None for a ``fit`` that begins anew.
        paths: predict's PATHs; None where it predicts a folder as a data set.
        request: what is wanted of them.
    """

    checkpoint: CheckpointInfo | None = None
    paths: PathStream | None = None
    request: Request

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and arguments of ``Trainer``'s methods that they do not take: predictions go to files."""
        known: dict[str, set[str]] = LightningCLI.subcommands()
        return {**known, "predict": known["predict"] | {"return_predictions"}}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Trainer and data for every command; the model for ``fit`` alone."""
        parser.add_lightning_class_args(lightning.Trainer, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in self.trainer_defaults.items()})
        parser.add_lightning_class_args(ImageFolderDataModule, "data")
        parser.add_argument("--keras", type=dict, default={}, help="read by keras_ref alone")
        if self._building != "fit":
            for block in FIT_ONLY:
                parser.add_argument(f"--{block}", type=Any, default=None, help="for fit alone; ignored here")
            if self._building == "predict":
                add_request(parser)
            return
        parser.add_class_arguments(TransferClassifier, "model", skip={"weights_record"}, sub_configs=True)
        parser.add_argument("--phases", type=list[Phase], default=[], help="the phases of training, in order")
        parser.add_argument(
            "--checkpoint_every_n_steps",
            type=int,
            default=0,
            help="save last.ckpt after so many optimizer steps too; 0: only between epochs",
        )
        parser.add_argument(
            "--pictures",
            type=bool,
            default=True,
            help="leave thumbnails, Grad-CAM overlays and augmented samples in the run folder, for its report",
        )
        parser.link_arguments("data.trainable_classes", "model.class_names", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.image_size")
        parser.link_arguments("seed_everything", "model.seed", compute_fn=_seed)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Remember whose parser is being built; what it loads is tensors and plain values."""
        self._building = subcommand
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True})
        for action in parser._actions:
            action.help = HELP.get(str(action.dest), action.help)
            if action.dest in (*LISTS, "trainer.callbacks"):
                take_whole(action)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse twice where a checkpoint is given: its data settings are defaults, not overrides."""
        args, paths = self._without_paths(args)
        self._parse(parser, args)
        command = self.config["subcommand"]
        if command == "fit":
            return
        settings = self.config[command]
        if command == "predict":
            self._take_paths(settings, paths)
        root = root_of_runs(settings.trainer)
        self.checkpoint = find_info(settings.get("ckpt_path"), root)
        known = dict(self.checkpoint.data)
        if self._is_folder(command, settings.data):
            known = {key: value for key, value in known.items() if key not in ("dataset", "dataset_args")}
        elif self.paths is None and settings.data.dataset is None:
            self.checkpoint.warn_of_dataset("give it again with --data.dataset and --data.dataset_args.")
        if self.paths is not None:
            pixels = {key: value for key, value in known.items() if key in PIXEL_SETTINGS}
            known = {"root": ".", **pixels}  # nothing is looked for in the root, but there must be one
        defaults = {f"data.{key}": value for key, value in known.items()}
        self._subcommand_parsers[command].set_defaults(defaults)
        self._parse(parser, args)
        self.config[command].ckpt_path = str(self.checkpoint.path)
        if command != "predict":
            self._use_split_of_run(self.config[command].data)

    def _is_folder(self, command: str, data: Any) -> bool:
        """Whether a root was given that is a folder of images, and not where the files of the run's data set are."""
        assert self.checkpoint is not None
        if data.root is None or data.dataset is not None:
            return False
        return command == "predict" or not same_path(data.root, self.checkpoint.data.get("root"))

    def _without_paths(self, args: ArgsType) -> tuple[ArgsType, list[str]]:
        """The words without predict's PATHs, and those."""
        words = sys.argv[1:] if args is None else args
        if not isinstance(words, list) or words[:1] != ["predict"]:
            return args, []
        options, paths = divide_words(words[1:])
        return ["predict", *options], paths

    def _parse(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """As Lightning does, without its warning at words that are given while the process has some of its own.

        Raises:
            InputError: in place of the parser's own error.
        """
        given = sys.argv[1:] if args is None else args
        words = given if isinstance(given, list) else []
        check_config_files(words)
        check_lists_whole(words, LISTS)
        try:
            if isinstance(args, list):
                self.config = parser.parse_args(args)
            else:
                super().parse_arguments(parser, args)
        except argparse.ArgumentError as error:
            raise self._refused(error, words[:1]) from error

    def _refused(self, error: argparse.ArgumentError, command: list[str]) -> InputError:
        """What is said of the parser's ``error``: our own words where it has come of an InputError."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, InputError):
                return cause
            cause = cause.__cause__ or cause.__context__
        command = [word for word in command if word in self._subcommand_parsers]
        parser = self._subcommand_parsers[command[0]] if command else self.parser
        return InputError(refusal(str(error), " ".join([PROGRAM, *command]), parser._option_string_actions))

    def _take_paths(self, settings: Any, paths: list[str]) -> None:
        """Keep predict's PATHs, if there are any; what goes with one form of it alone is refused in the other."""
        values = settings.as_dict()
        if not paths:
            check_no_request(values)
            return
        check_root_absent(settings.data.root, settings.data.dataset)
        self.request = make_request(values)
        self.paths = PathStream(paths, self.request.null)

    def _use_split_of_run(self, data: Any) -> None:
        """Keep to the images that the run trained on and held out, unless another split file or root is asked for."""
        assert self.checkpoint is not None
        parser = self._subcommand_parsers[self.config["subcommand"]]
        defaults = {name: parser.get_default(f"data.{name}") for name in DIVISION}
        if keep_split(self.checkpoint, data, defaults["split"]):
            keep_fractions(self.checkpoint, data, defaults)

    def _parse_ckpt_path(self) -> None:
        """Leave the command line alone: Lightning would let the checkpoint's hyperparameters override it."""


def root_of_runs(trainer: Any) -> str:
    """The folder that a trainer's settings give to runs, a ``~`` in front replaced: Lightning would do so later.

    Raises:
        InputError: its name is empty, or one that Lightning, which opens files by fsspec, takes for something else.
    """
    root = trainer.default_root_dir
    if root == "":
        raise InputError(
            "trainer.default_root_dir: the folder of a run is needed; an unset shell variable gives none. Received: ''."
        )
    if root is not None and ("://" in str(root) or "::" in str(root)):
        raise InputError(
            "trainer.default_root_dir: a folder is needed, and names with :// or :: are taken for addresses. "
            f"Received: {str(root)!r}."
        )
    return DEFAULT_ROOT if root is None else at_home(str(root))


def _seed(value: bool | int) -> int:
    """The run's seed: an integer, because draws are a function of it."""
    return checked_seed("seed_everything", value)
