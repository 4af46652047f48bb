"""``predict`` with PATHs, from the paths to the file."""

import sys
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from lightning_tl.classifier import TransferClassifier
from lightning_tl.collect import with_callbacks
from lightning_tl.data.loader import computes_on_cuda
from lightning_tl.data.options import DataOptions
from lightning_tl.errors import InputError
from lightning_tl.predict.formats import make_format
from lightning_tl.predict.images import Batches, Feed
from lightning_tl.predict.inputs import STDIN, PathStream
from lightning_tl.predict.partial import Partial, State, opened
from lightning_tl.predict.progress import ProgressReport
from lightning_tl.predict.request import STDOUT, Request
from lightning_tl.predict.result import Chunks, Lines, put_in_place
from lightning_tl.predict.rows import Format
from lightning_tl.predict.text_formats import TextFormat
from lightning_tl.predict.writer import PredictionWriter
from lightning_tl.ranks import is_first_process
from lightning_tl.sigterm import EndPrediction, Sigterm
from lightning_tl.weights import sha256

CHUNK = 2048
"""Images in a chunk, about: what an interruption costs at most, and the rows of a Parquet row group."""


def predict_paths(
    trainer: lightning.Trainer,
    model: TransferClassifier,
    options: DataOptions,
    checkpoint: Path,
    stream: PathStream,
    request: Request,
    show_progress: bool = True,
) -> str:
    """Predict every path of a stream, in its order, in constant memory.

    Args:
        trainer: of any number of ranks.
        model: with the weights of ``checkpoint``.
        options: image size, resizing, batch size and workers count.
        checkpoint: the file of the weights, by whose hash an unfinished result is known again.
        stream: of paths, from its beginning.
        request: where to, how, and whether to continue.
        show_progress: on standard error.

    Returns:
        What was done, in one sentence; empty on ranks other than the first.

    Raises:
        InputError: a PATH or an option is wrong; there is a result already; the output cannot be written; or, when
            all is done, files could not be read and the request is to fail then.
    """
    form = make_format(request.output, model.class_names, request.top_k)
    check_trainer(trainer, STDIN if stream.from_stdin else request.output)
    count = None if stream.from_stdin else PathStream(stream.words).count
    progress = ProgressReport(show_progress, count)
    ended = "ended by SIGTERM" + ("; the same command continues" if request.continues else "")
    feed = Feed(stream, options.batch_size_on(trainer.world_size), Sigterm(), ended)
    batches = Batches(feed, options.image_settings, options.num_workers, computes_on_cuda(trainer))
    if not is_first_process():
        _run(trainer, model, batches, PredictionWriter(None, progress))
        return ""
    stream.check()
    if request.output == STDOUT:
        assert isinstance(form, TextFormat)
        lines = Lines(form)
        _run(trainer, model, batches, PredictionWriter(lines, progress))
        return _told(request, lines)
    settings = _settings(trainer, model, options, checkpoint, stream, request)
    steps = max(1, CHUNK // (feed.batch_size * trainer.world_size))
    partial = Partial(request.partial, settings, steps * feed.batch_size * trainer.world_size)
    state = _finish(trainer, model, batches, partial, form, request, progress)
    return _told(request, state)


def _finish(
    trainer: lightning.Trainer,
    model: TransferClassifier,
    batches: Batches,
    partial: Partial,
    form: Format,
    request: Request,
    progress: ProgressReport,
) -> State:
    """Do what is left to do of a partial result and put it in place."""
    output = request.target
    with opened(partial, output, request.errors, request.resume, request.overwrite):
        if partial.state.paths:
            print(f"continuing {partial.folder} after {partial.state.paths} paths", file=sys.stderr)
        partial.skip(batches.feed.stream)
        if not partial.state.finished:
            _run(trainer, model, batches, PredictionWriter(Chunks(partial, form), progress))
            partial.load()  # where ddp_spawn has started processes, one of those has written it
        put_in_place(partial, form, output, request.errors, request.overwrite)
        return partial.state


def _run(trainer: lightning.Trainer, model: TransferClassifier, batches: Batches, writer: PredictionWriter) -> None:
    """``trainer.predict`` with a writer."""
    with with_callbacks(trainer, writer, EndPrediction(batches.feed.ended, batches.feed.sigterm)):
        trainer.predict(model, dataloaders=batches, return_predictions=False)


def check_trainer(trainer: lightning.Trainer, stream: str) -> None:
    """Raise InputError for a trainer that would leave paths out, or whose processes have no streams.

    Args:
        trainer: of the prediction.
        stream: ``-`` if standard input or output is used.
    """
    limit = trainer.limit_predict_batches
    if trainer.fast_dev_run or limit != 1.0 or isinstance(limit, int):  # type: ignore[attr-defined]
        raise InputError(
            "trainer.limit_predict_batches: every PATH is predicted, so it and fast_dev_run do not go with PATHs. "
            f"Give fewer PATHs. Received: {limit}."
        )
    if stream == STDIN and isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise InputError(
            "trainer.strategy: processes that are spawned or forked have neither standard input nor output. Use ddp, "
            f"or files in place of {STDIN}."
        )


def _settings(
    trainer: lightning.Trainer,
    model: TransferClassifier,
    options: DataOptions,
    checkpoint: Path,
    stream: PathStream,
    request: Request,
) -> dict[str, Any]:
    """What decides the bytes of the result, but for the images: an unfinished one is continued with the same alone."""
    return {
        "PATH": list(stream.words),
        "checkpoint's sha256": sha256(checkpoint),
        "classes": list(model.class_names),
        "top_k": request.top_k,
        "data.image_size": list(options.size),
        "data.resize": options.resize,
        "data.antialias": options.antialias,
        "batch on a device": options.batch_size_on(trainer.world_size),
        "devices": trainer.world_size,
        "device": trainer.strategy.root_device.type,
        "trainer.precision": str(trainer.precision),
    }


def _told(request: Request, state: State | Lines) -> str:
    """The last words. Raises InputError if files could not be read and that is to be an error."""
    where = "standard error" if request.output == STDOUT else str(request.errors)
    if state.unreadable and request.fail_on_unreadable:
        total = state.predicted + state.unreadable
        raise InputError(
            f"fail_on_unreadable: {state.unreadable} of {total} files could not be read, as {where} tells; the others "
            f"are in {request.output}."
        )
    files = "1 file" if state.unreadable == 1 else f"{state.unreadable} files"
    more = f", {files} could not be read: {where}" if state.unreadable else ""
    return f"predictions: {request.output} ({state.predicted} images{more})"
