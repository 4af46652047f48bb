"""Options of ``lightning-tl predict PATH...``, and what they cannot be together."""

import io
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
from predicting import OPTIONS, go, predict, predict_here, rows

from lightning_tl.command import main
from lightning_tl.errors import InputError
from lightning_tl.predict import run
from lightning_tl.predict.request import Request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")


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


def test_progress_is_told_on_standard_error_unless_it_is_switched_off(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_tl.predict.progress.SECONDS", 0.0)
    done = go(workplace, "photos", "--output", "loud.csv")
    assert "11 of 11 images, " in done.err
    assert "images/s, 0 unreadable" in done.err
    quiet = go(workplace, "photos", "--output", "quiet.csv", "--trainer.enable_progress_bar", "false")
    assert "images/s" not in quiet.out + quiet.err


def test_a_progress_bar_of_the_config_gives_way(workplace: Path) -> None:
    bar = '[{"class_path": "lightning.pytorch.callbacks.TQDMProgressBar"}]'
    go(workplace, "photos/01.png", "--output", "bar.csv", "--trainer.callbacks", bar)
    assert len(rows(workplace / "bar.csv")) == 2


def test_help_tells_what_a_path_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["lightning-tl", "predict", "--help"])
    with redirect_stdout(told):
        main()
    words = " ".join(told.getvalue().split())
    assert "A PATH is a file, a folder (all images below it, sorted), a quoted glob" in words
    assert "predictions.errors.csv" in words
    assert "--top_k TOP_K" in words


def test_a_link_is_written_through(workplace: Path) -> None:
    """What lies beside the output lies beside the file that it leads to."""
    (workplace / "broken.png").write_bytes(b"")
    (workplace / "store").mkdir()
    (workplace / "link.csv").symlink_to("store/real.csv")
    predict_here("photos/01.png", "broken.png", output="link.csv", cwd=workplace)
    assert (workplace / "link.csv").is_symlink()
    assert len(rows(workplace / "store" / "real.csv")) == 2
    assert {path.name for path in (workplace / "store").iterdir()} == {"real.csv", "real.errors.csv"}
    with pytest.raises(InputError, match="output: the file is there already"):
        predict_here("photos", output="link.csv", cwd=workplace)
    predict_here("photos", output="link.csv", overwrite=True, cwd=workplace)
    assert len(rows(workplace / "store" / "real.csv")) == 12
    assert {path.name for path in (workplace / "store").iterdir()} == {"real.csv"}


def test_a_link_to_another_ending_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file would be of the format that the link's name says."""
    monkeypatch.chdir(tmp_path)
    for name, target in (("text.csv", "real.parquet"), ("root.csv", "/")):
        Path(name).symlink_to(target)
        with pytest.raises(InputError, match=f"output: the link '{name}' leads to a file of another ending"):
            Request(name)


def test_the_list_of_errors_may_be_a_link_too(workplace: Path) -> None:
    (workplace / "broken.png").write_bytes(b"")
    (workplace / "out.errors.csv").symlink_to("kept.csv")
    predict_here("broken.png", "photos/01.png", output="out.csv", cwd=workplace)
    assert (workplace / "out.errors.csv").is_symlink()
    assert len(rows(workplace / "kept.csv")) == 2
    with pytest.raises(InputError, match="output: the file is there already"):
        predict_here("broken.png", "photos/01.png", output="out.csv", cwd=workplace)


def test_the_data_set_of_the_run_is_nothing_to_new_images(workplace: Path) -> None:
    """Nor could it be given with PATHs; a prediction of the run's own images asks for it."""
    content = torch.load(workplace / "best.ckpt", weights_only=True)
    content["datamodule_hyper_parameters"] |= {"dataset": "a.package.Images", "root": None}
    torch.save(content, workplace / "foreign.ckpt")
    words, said = ("--ckpt_path", "foreign.ckpt", *OPTIONS), "The checkpoint was trained on 'a.package.Images'"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=said)
        predict("photos/01.png", *words, "--output", "foreign.csv", cwd=workplace)
    with pytest.warns(UserWarning, match=f"{said}.* give it again with --data.dataset and --data.dataset_args"):
        predict(*words, cwd=workplace, code=2)
