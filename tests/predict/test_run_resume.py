"""A prediction that was ended goes on where it was, and gives the same bytes."""

import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from predicting import Stdin, draw, go, predict_here, rows, write_checkpoint

from lightning_tl import ImageFolderDataModule
from lightning_tl.errors import InputError
from lightning_tl.predict import images as loading
from lightning_tl.predict import run
from lightning_tl.predict.inputs import PathStream
from lightning_tl.predict.request import Request
from lightning_tl.predict.writer import PredictionWriter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")


class EndedError(Exception):
    """What a test ends a run by."""


def take_steps(patch: pytest.MonkeyPatch, steps: int) -> list[int]:
    """End a run after so many steps; how many are left to it."""
    left, end = [steps], PredictionWriter.on_predict_batch_end

    def count(*arguments: object) -> None:
        if not left[0]:
            raise EndedError
        left[0] -= 1
        end(*arguments)  # type: ignore[arg-type]

    patch.setattr(PredictionWriter, "on_predict_batch_end", count)
    return left


@pytest.mark.parametrize("output", ["cut.csv", "cut.jsonl", "cut.parquet"])
def test_what_was_begun_is_continued(
    workplace: Path, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images that are done are not decoded again, other settings are refused, and the bytes are the same."""
    monkeypatch.setattr(run, "CHUNK", 4)
    draw(workplace / "begun", 3)
    (workplace / "begun" / "01.png").write_bytes(b"")
    begin = partial(predict_here, "photos", "beg?n/*", output=output, cwd=workplace)
    begin(top_k=2)
    whole = [(workplace / name).read_bytes() for name in (output, "cut.errors.csv")]
    for name in (output, "cut.errors.csv"):
        (workplace / name).unlink()
    with monkeypatch.context() as patch:
        take_steps(patch, 2)
        with pytest.raises(EndedError):
            begin(top_k=2)
    assert (workplace / f"{output}.partial").is_dir()
    assert not (workplace / output).exists()
    with pytest.raises(InputError, match=r"\(top_k: 2, now 3\)"):
        begin(top_k=3)
    with pytest.raises(InputError, match=r"\(data.antialias: false, now true; batch on a device: 4, now 2\)"):
        begin(top_k=2, data={"batch_size": 2, "antialias": True})
    with pytest.raises(InputError, match=r"\(PATH: .*, now \[.photos.\]\)"):
        predict_here("photos", output=output, top_k=2, cwd=workplace)
    with monkeypatch.context() as patch:
        left = take_steps(patch, 99)
        begin(top_k=2)
    assert left[0] == 99 - 2, "of four steps two were left"
    assert f"continuing {output}.partial after 8 paths" in capsys.readouterr().err
    assert whole == [(workplace / name).read_bytes() for name in (output, "cut.errors.csv")]
    (workplace / "cut.errors.csv").unlink()  # which the next output of that name would not replace
    assert not (workplace / f"{output}.partial").exists()


CHANGES: dict[str, dict[str, Any]] = {
    "PATH": {"stream": PathStream(["elsewhere"])},
    "checkpoint's sha256": {"checkpoint": Path(__file__)},
    "classes": {"model": SimpleNamespace(class_names=("a", "c"))},
    "top_k": {"request": Request(top_k=1)},
    "data.image_size": {"image_size": 16},
    "data.resize": {"resize": "crop"},
    "data.antialias": {"antialias": True},
    "batch on a device": {"batch_size": 2},
    "devices": {"devices": 2},
    "device": {"device": "cuda"},
    "trainer.precision": {"precision": "bf16-mixed"},
}
"""By setting of a result, what changes that one alone."""


def settings_with(workplace: Path, **changes: Any) -> dict[str, Any]:
    """What a result is known again by, but for ``changes``."""
    data = {name: changes[name] for name in ("image_size", "resize", "antialias", "batch_size") if name in changes}
    trainer = SimpleNamespace(
        world_size=changes.get("devices", 1),
        strategy=SimpleNamespace(root_device=torch.device(changes.get("device", "cpu"))),
        precision=changes.get("precision", "32-true"),
    )
    return run._settings(
        trainer,  # type: ignore[arg-type]
        changes.get("model", SimpleNamespace(class_names=("a", "b"))),
        ImageFolderDataModule(**{"root": ".", "image_size": 32, "batch_size": 4, **data}).options,
        changes.get("checkpoint", workplace / "best.ckpt"),
        changes.get("stream", PathStream(["photos"])),
        changes.get("request", Request()),
    )


def test_a_result_is_known_again_by_everything_that_decides_its_bytes(workplace: Path) -> None:
    known = settings_with(workplace)
    for name, changes in CHANGES.items():
        changed = settings_with(workplace, **changes)
        assert [key for key in {**known, **changed} if known.get(key) != changed.get(key)] == [name]
    assert known.keys() == CHANGES.keys()


def test_images_that_changed_are_noticed_and_anew_begins_anew(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHUNK", 4)
    draw(workplace / "changing", 9)
    begin = partial(predict_here, "changing", output="changed.csv", cwd=workplace)
    with monkeypatch.context() as patch:
        take_steps(patch, 1)
        with pytest.raises(EndedError):
            begin()
    (workplace / "changing" / "02.png").rename(workplace / "changing" / "99.png")
    with pytest.raises(InputError, match="holds the results of 4 paths, and PATH no longer gives the same ones"):
        begin()
    checkpoint = (workplace / "best.ckpt").read_bytes()
    write_checkpoint(workplace / "best.ckpt", seed=2)
    with pytest.raises(InputError, match="checkpoint's sha256"):
        begin()
    (workplace / "best.ckpt").write_bytes(checkpoint)
    begin(resume=False)
    assert [row[0] for row in rows(workplace / "changed.csv")[1:]] == [
        f"changing/{number:02}.png" for number in (0, 1, 3, 4, 5, 6, 7, 8, 99)
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_polite_end_keeps_what_is_done(
    workplace: Path, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK", 4)
    end = PredictionWriter.on_predict_batch_end

    def send(*arguments: object) -> None:
        os.kill(os.getpid(), number)
        end(*arguments)  # type: ignore[arg-type]

    output = f"{number.name}.csv"
    # A shell starts what runs in the background with SIGINT ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(PredictionWriter, "on_predict_batch_end", send)
        done = go(workplace, "photos", "--output", output, code=code)
    assert done.err.endswith("; the same command continues\n")
    go(workplace, "photos", "--output", output)
    signal.signal(signal.SIGINT, handler)  # Lightning switches it off, for its process is about to end
    assert len(rows(workplace / output)) == 12


@pytest.mark.parametrize("name", ["Batches.__iter__", "PathImages.__getitem__"])
def test_told_to_end_before_the_first_step(workplace: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Lightning makes itself ready, and while it fetches the first batch, which it does before any hook."""
    monkeypatch.setattr(run, "CHUNK", 4)
    draw(workplace / "early", 9)
    begin = partial(predict_here, "early", output=f"{name}.csv", cwd=workplace)
    kind, method = name.split(".")
    original = getattr(getattr(loading, kind), method)

    def send(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(loading, kind), method, send)
        with pytest.raises(SIGTERMException, match="ended by SIGTERM; the same command continues"):
            begin()
    assert signal.getsignal(signal.SIGTERM) == before
    begin()
    assert len(rows(workplace / f"{name}.csv")) == 10


class Pipe(Stdin):
    """Standard input of which only the first lines have come; SIGTERM comes while the rest is waited for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.lines, self.buffer, self.ended = self.buffer, self, False  # type: ignore[assignment]
        self.end, self.writer = os.pipe()

    def read1(self, size: int) -> bytes:
        if block := self.lines.read1(size):
            return block
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        closing = threading.Timer(20, os.close, (self.writer,))  # or a test that fails would never end
        closing.start()
        try:
            os.read(self.end, 1)
            self.ended = True
        finally:
            closing.cancel()
        return b""


def test_told_to_end_just_before_standard_input_is_waited_for(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's handler notes it then; and where nothing continues, nobody says so."""
    pipe, original = Pipe(b""), loading.Batches.__iter__

    def send(batches: loading.Batches) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(batches)

    with monkeypatch.context() as patch:
        patch.setattr("predicting.Stdin", lambda content: pipe)
        patch.setattr(loading.Batches, "__iter__", send)
        done = go(workplace, "-", "--output", "-", code=143)
    assert done.err.endswith("lightning-tl: ended by SIGTERM\n")
    assert not pipe.ended


@pytest.mark.parametrize("count", [0, 9])
def test_told_to_end_while_standard_input_is_waited_for(
    workplace: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK", 4)
    draw(workplace / "slow", 11)
    listed = "".join(f"slow/{number:02}.png\n" for number in range(11)).encode()
    pipe, output = Pipe(b"".join(listed.splitlines(keepends=True)[:count])), f"slow {count}.csv"
    with monkeypatch.context() as patch:
        patch.setattr("predicting.Stdin", lambda content: pipe)
        done = go(workplace, "-", "--output", output, code=143)
    assert done.err.endswith("lightning-tl: ended by SIGTERM; the same command continues\n")
    assert not pipe.ended
    again = go(workplace, "-", "--output", output, stdin=listed)
    assert ("after 4 paths" in again.err) == (count == 9), "the loader is a batch ahead"
    assert len(rows(workplace / output)) == 12
