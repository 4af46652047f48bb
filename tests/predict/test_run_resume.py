"""A prediction that was ended goes on where it was, and gives the same bytes."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from predicting import draw, go, predict_here, rows, write_checkpoint

from lightning_tl.errors import InputError
from lightning_tl.predict import run
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
    with pytest.raises(InputError, match=r"\(batch on a device: 4, now 2; data.antialias: false, now true\)|antialias"):
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
