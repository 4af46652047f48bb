"""``lightning-tl predict PATH...``, from the words to the file."""

import csv
import io
import json
import os
import shutil
import signal
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pyarrow.parquet
import pytest
import torch
import yaml
from predicting import CLASSES, OPTIONS, Done, draw, predict, predict_here, write_checkpoint

from lightning_tl import TransferClassifier
from lightning_tl.command import main
from lightning_tl.data.decode import decode_image
from lightning_tl.data.folder import list_images
from lightning_tl.errors import InputError
from lightning_tl.predict import run
from lightning_tl.predict.writer import PredictionWriter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file, strict=True))


def go(workplace: Path, *words: str | Path, code: int = 0, stdin: bytes = b"") -> Done:
    return predict("--ckpt_path", "best.ckpt", *OPTIONS, *words, cwd=workplace, code=code, stdin=stdin)


def expected(workplace: Path, paths: list[str]) -> np.ndarray:
    """Probabilities by the model itself, one image at a time."""
    model = TransferClassifier.load_from_checkpoint(workplace / "best.ckpt", map_location="cpu", weights_only=True)
    model.eval()
    with torch.no_grad():
        return np.stack([model(decode_image(workplace / path)[None]).softmax(1)[0].numpy() for path in paths])


def test_folder_files_and_globs_in_one_command(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = go(workplace, "photos/03.png", "photos", "photos/*/0[12].png", "photos/03.png", "--output", "out/all.csv")
    header, *found = rows(workplace / "out" / "all.csv")
    monkeypatch.chdir(workplace)
    paths = ["photos/03.png", *list_images("photos"), "photos/more/01.png", "photos/more/02.png", "photos/03.png"]
    assert header == ["path", "predicted", "probability", *(f"probability_{name}" for name in CLASSES)]
    assert [row[0] for row in found] == paths
    values = expected(workplace, paths)
    np.testing.assert_allclose(np.array([row[3:] for row in found], dtype=np.float32), values, rtol=1e-4, atol=1e-6)
    assert [row[1] for row in found] == [CLASSES[label] for label in values.argmax(axis=1)]
    assert len({row[1] for row in found}) > 1, "a model that always says the same would show nothing"
    assert done.out == f"predictions: out/all.csv ({len(paths)} images)\n"
    assert {path.name for path in (workplace / "out").iterdir()} == {"all.csv"}
    assert not (workplace / "runs").exists()


def test_the_same_from_standard_input_in_every_format(workplace: Path) -> None:
    listed = b"photos/more/04.png\nphotos/00.png\nphotos/more/04.png\n"
    paths = listed.decode().split()
    predict_here("-", output="list.csv", top_k=2, stdin=listed, cwd=workplace)
    predict_here("-", output="list.jsonl", null=True, stdin=listed.replace(b"\n", b"\0"), cwd=workplace)
    predict_here(*paths, output="list.parquet", cwd=workplace)
    lines = [json.loads(line) for line in (workplace / "list.jsonl").read_text().splitlines()]
    table = pyarrow.parquet.read_table(workplace / "list.parquet").to_pylist()
    for row, line, record, path in zip(rows(workplace / "list.csv")[1:], lines, table, paths, strict=True):
        assert row[0] == line["path"] == record["path"] == path
        assert row[1] == line["predicted"] == record["predicted"] != row[3]
        assert float(row[2]) == line["probability"] == max(line["probabilities"].values())
        assert np.float32(row[2]) == np.float32(record["probability"])


def test_workers_and_batches_do_not_change_the_order(workplace: Path) -> None:
    predict_here("photos", output="one.jsonl", cwd=workplace)
    predict_here("photos", output="many.jsonl", data={"num_workers": 2, "batch_size": 3}, cwd=workplace)
    one, many = (
        [json.loads(line) for line in (workplace / f"{name}.jsonl").read_text().splitlines()]
        for name in ("one", "many")
    )
    assert [line["path"] for line in one] == [line["path"] for line in many]
    assert [line["probability"] for line in one] == pytest.approx([line["probability"] for line in many], rel=1e-4)


@pytest.mark.parametrize("fail", [False, True])
def test_unreadable_files_are_reported_and_the_rest_is_done(workplace: Path, fail: bool) -> None:
    messy = workplace / "messy"
    draw(messy, 5)
    (messy / "01.png").write_bytes(b"")
    (messy / "03.png").write_bytes((messy / "00.png").read_bytes()[:100])
    listed = b"messy/00.png\nmessy/01.png\nmessy\n=gone.png\nmessy/03.png\nmessy/04.png\n"
    request = {"output": f"{fail}.csv", "fail_on_unreadable": fail, "data": {"on_bad_image": "error"}}
    if fail:
        with pytest.raises(
            InputError, match=r"fail_on_unreadable: 4 of 6 files .*, as True.errors.csv tells; the others"
        ):
            predict_here("-", stdin=listed, cwd=workplace, **request)
    else:
        told = predict_here("-", stdin=listed, cwd=workplace, **request)
        assert told == "predictions: False.csv (2 images, 4 files could not be read: False.errors.csv)"
    assert [row[0] for row in rows(workplace / f"{fail}.csv")[1:]] == ["messy/00.png", "messy/04.png"]
    header, *bad = rows(workplace / f"{fail}.errors.csv")
    assert header == ["path", "reason"]
    assert [row[0] for row in bad] == ["messy/01.png", "messy", "'=gone.png", "messy/03.png"]
    assert [row[1] for row in bad[:3]] == ["it is empty", "it is a folder", "No such file or directory"]
    assert bad[3][1]


@pytest.mark.parametrize("output", ["empty.csv", "empty.jsonl", "empty.parquet"])
def test_an_empty_list_gives_an_empty_result(workplace: Path, output: str) -> None:
    assert predict_here("-", output=output, cwd=workplace) == f"predictions: {output} (0 images)"
    assert (workplace / output).is_file()


def test_nothing_but_unreadable_files(workplace: Path) -> None:
    told = predict_here("-", output="none.parquet", stdin=b"gone.png\n", cwd=workplace)
    assert told == "predictions: none.parquet (0 images, 1 file could not be read: none.errors.csv)"
    assert pyarrow.parquet.read_table(workplace / "none.parquet").num_rows == 0


def test_options_from_a_config(workplace: Path) -> None:
    """What belongs to ``fit`` alone is passed over, as by the other commands."""
    config = {"model": {"backbone": "unknown"}, "phases": [], "top_k": 1, "data": {"batch_size": 2}}
    (workplace / "config.yaml").write_text(yaml.safe_dump(config))
    words = ("--config", "config.yaml", "--ckpt_path", "best.ckpt", "photos/01.png", "--output", "config.csv")
    predict("photos", *words, "--trainer.accelerator", "cpu", "--data.num_workers", "0", cwd=workplace)
    header, *found = rows(workplace / "config.csv")
    assert header == ["path", "predicted", "probability"]
    assert len(found) == 12
    assert found[-1][0] == "photos/01.png"


def test_lines_on_standard_output_and_nothing_else(workplace: Path) -> None:
    done = go(workplace, "-", "--output", "-", "--top_k", "1", stdin=b"photos/01.png\ngone.png\nphotos/02.png\n")
    assert [json.loads(line)["path"] for line in done.out.splitlines()] == ["photos/01.png", "photos/02.png"]
    assert "'gone.png' cannot be read: No such file or directory" in done.err
    assert done.err.endswith("predictions: - (2 images, 1 file could not be read: standard error)\n")


def test_names_as_bad_as_they_get(workplace: Path) -> None:
    names = [
        b"=1+1.png",
        b"caf\xe9.png",
        b"new\nline\r.png",
        b"null",
        b"1e3.png",
        b"\"q', <b>.png",
        b"x" * 250 + b".png",
    ]
    folder = workplace / "hostile"
    folder.mkdir()
    for number, name in enumerate(names):
        shutil.copy(workplace / "photos" / f"0{number % 6}.png", os.fsencode(folder) + b"/" + name)
    paths = [f"hostile/{os.fsdecode(name)}" for name in names]
    predict_here(*paths, output="hostile.csv", cwd=workplace)
    predict_here("-", null=True, output="again.csv", stdin=b"\0".join(map(os.fsencode, paths)), cwd=workplace)
    assert [row[0] for row in rows(workplace / "hostile.csv")[1:]] == paths
    assert (workplace / "again.csv").read_bytes() == (workplace / "hostile.csv").read_bytes()
    output = os.fsdecode(b"outp\xfft.jsonl")
    done = go(workplace, "--output", output, "--", "hostile", "hostile/null", "hostile/1e3.png")
    assert done.out == "predictions: outp\\udcfft.jsonl (8 images)\n"
    assert (workplace / output).read_text().count("\n") == 8, "null has no suffix of an image"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("photos", "--data.root", "photos"), "data.root: predict takes its images from PATHs or from data.root"),
        (("--data.root", "photos", "--output", "x.csv"), "output: it goes with PATHs"),
        (("--null", "true", "photos"), "null: it tells how the list on standard input is written"),
        (("photos", "nowhere"), "PATH: no such file or folder. Received: 'nowhere'"),
    ],
)
def test_words_that_do_not_go_together(workplace: Path, words: tuple[str, ...], said: str) -> None:
    assert said in go(workplace, *words, code=2).err.splitlines()[-1]
    assert not list(workplace.glob("x.*"))
    assert not (workplace / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"top_k": 4}, "top_k: the model knows 3 classes"),
        ({"output": "x.txt"}, "output: the suffix says how predictions are written"),
        ({"output": "best.ckpt/x.csv"}, "output: best.ckpt/x.csv.partial cannot be written"),
    ],
)
def test_options_that_cannot_be(workplace: Path, request_: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        predict_here("photos", cwd=workplace, **request_)
    assert not list(workplace.glob("x.*"))


@pytest.mark.parametrize(
    ("options", "stream", "said"),
    [
        ({"limit_predict_batches": 1}, "x.csv", "trainer.limit_predict_batches: every PATH is predicted"),
        ({"fast_dev_run": True}, "x.csv", "trainer.limit_predict_batches: every PATH is predicted"),
        ({"strategy": "ddp_spawn", "devices": 2}, "-", "trainer.strategy: .* have neither standard input nor output"),
    ],
)
def test_trainers_that_would_leave_paths_out(options: dict[str, Any], stream: str, said: str) -> None:
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, **options)
    with pytest.raises(InputError, match=said):
        run.check_trainer(trainer, stream)


def test_a_result_that_is_there_is_replaced_only_if_asked(workplace: Path) -> None:
    predict_here("photos/01.png", output="twice.csv", cwd=workplace)
    first = (workplace / "twice.csv").read_bytes()
    with pytest.raises(InputError, match="output: the file is there already"):
        predict_here("photos", output="twice.csv", cwd=workplace)
    assert (workplace / "twice.csv").read_bytes() == first
    predict_here("photos", output="twice.csv", overwrite=True, cwd=workplace)
    assert len(rows(workplace / "twice.csv")) == 12


class EndedError(Exception):
    """What a test ends a run by."""


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
    (workplace / output).unlink()
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
    assert not (workplace / f"{output}.partial").exists()


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
        go(workplace, "photos", "--output", output, code=code)
    go(workplace, "photos", "--output", output)
    signal.signal(signal.SIGINT, handler)  # Lightning switches it off, for its process is about to end
    assert len(rows(workplace / output)) == 12


def test_progress_is_told_on_standard_error_unless_it_is_switched_off(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_tl.predict.progress.SECONDS", 0.0)
    done = go(workplace, "photos", "--output", "loud.csv")
    assert "11 of 11 images, " in done.err
    assert "images/s, 0 unreadable" in done.err
    quiet = go(workplace, "photos", "--output", "quiet.csv", "--trainer.enable_progress_bar", "false")
    assert "images/s" not in quiet.out + quiet.err


def test_help_tells_what_a_path_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["lightning-tl", "predict", "--help"])
    with redirect_stdout(told), pytest.raises(SystemExit):
        main()
    words = " ".join(told.getvalue().split())
    assert "A PATH is a file, a folder (all images below it, sorted), a quoted glob" in words
    assert "predictions.errors.csv" in words
    assert "--top_k TOP_K" in words
