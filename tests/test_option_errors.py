"""An option that cannot be used is one message, which names it, what was meant, and where help is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from calling import CONFIG, fails, run

from lightning_tl.caches import FOLDER_VARIABLE

COMMANDS = ("fit", "validate", "test", "predict", "report", "export", "completion")
SIZE = "data.image_size: must be one of int, tuple[int, int]"


def refused(*words: str, cwd: Path) -> str:
    """The message for these words of ``fit``, after a config that lacks nothing; it is one line."""
    (cwd / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    error = fails("fit", "--config", "config.yaml", *words, cwd=cwd)
    assert error.startswith("lightning-tl: error: ")
    assert error.count("\n") == 1
    return error.removeprefix("lightning-tl: error: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_no_command_has_is_one_message(command: str, tmp_path: Path) -> None:
    words = {"report": ("run",), "export": ("best", "--format", "pt2", "--output", "m.pt2")}.get(command, ())
    error = fails(command, *words, "--zzz", cwd=tmp_path)
    where = f"lightning-tl {command} --help tells all options."
    assert error == f"lightning-tl: error: no such option. Received: --zzz. {where}\n"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--data.rooot", "--data.root"),
        ("--batch_size", "--data.batch_size"),
        ("--trainer.strategi", "--trainer.strategy"),
    ],
)
def test_the_nearest_option_is_named(given: str, meant: str, tmp_path: Path) -> None:
    assert refused(given, "small", cwd=tmp_path).startswith(
        f"no such option. Received: {given}. Did you mean {meant}? lightning-tl fit --help"
    )


def test_of_options_that_resemble_nothing_none_is_named(tmp_path: Path) -> None:
    assert "Did you mean" not in refused("--trainer.lr", "1", cwd=tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data.batch_size", "abc"), "data.batch_size: must be int. Received: abc."),
        (("--data.image_size", "96,128"), f"{SIZE}. Received: 96,128. A list is written [a,b]."),
        (("--data.image_size", "[1,2,3]"), f"{SIZE}. Received: [1, 2, 3]."),
        (("--data.resize", "cut"), "data.resize: must be one of 'stretch', 'crop', 'pad'. Received: cut."),
        (("--model.backbone",), "--model.backbone: expected one argument."),
        (("--phases", "[{name: head, epochs: a}]"), "phases: Phase: epochs: must be int. Received: a."),
        (("--seed_everything", "-1"), "seed_everything: a non-negative integer below 2**32 is needed. Received: -1."),
    ],
)
def test_a_value_of_another_type_is_told_without_the_parsers_terms(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    assert refused(*words, cwd=tmp_path).startswith(said)


def test_where_more_than_types_is_wrong_the_parsers_own_reasons_stay(tmp_path: Path) -> None:
    error = fails("fit", "--trainer.callbacks", "[{class_path: EarlyStoping}]", cwd=tmp_path)
    assert error.startswith("lightning-tl: error: trainer.callbacks: ")
    assert "Expected a dot import path string: EarlyStoping" in error
    assert error.endswith("\nlightning-tl fit --help tells all options.\n")


def test_options_before_the_command_are_not_taken_for_its_own(tmp_path: Path) -> None:
    error = fails("--print_config", "--zzz", "fit", cwd=tmp_path)
    assert error == "lightning-tl: error: no such option. Received: --zzz. lightning-tl --help tells all options.\n"
    error = fails("--zzz", "1", "fit", cwd=tmp_path)
    assert error == (
        "lightning-tl: error: options come after the command. Received: --zzz; lightning-tl fit --zzz ...\n"
    )


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("--phases.0.epochs=1", "phases"),
        ("--phases.epochs=7", "phases"),
        ("--model.augment.factor=0.3", "model.augment"),
    ],
)
def test_a_field_of_an_item_of_a_list_is_refused(word: str, name: str, tmp_path: Path) -> None:
    """The parser would set it in the last item alone, or append one."""
    said = refused(word, cwd=tmp_path)
    assert said.startswith(f"{name}: a list, whose items have no options of their own. Received: {word.split('=')[0]};")
    assert f"append an item (--{name}+ '" in said


def test_a_list_takes_another_item_as_the_error_says(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    words = ("--config", "config.yaml", "--phases+", "{name: more, epochs: 1, lr: 1e-3}", "--print_config")
    phases = yaml.safe_load(run("fit", *words, cwd=tmp_path).out)["phases"]
    assert [phase["name"] for phase in phases] == ["head", "finetune", "more"]


def test_a_list_replaces_the_one_before_it_whole(tmp_path: Path) -> None:
    """As many items as before are no reason for a phase to keep what the one in its place was told."""
    stops = {"early_stopping": {"patience": 1}, "scheduler": "plateau", "scheduler_args": {"patience": 0}}
    rotated = [{"class_path": "RandomRotation", "init_args": {"factor": 0.3, "fill_mode": "constant"}}]
    watched = [{"class_path": "EarlyStopping", "init_args": {"monitor": "val_loss", "patience": 7}}]
    below = {
        **CONFIG,
        "phases": [{**phase, **stops, "unfreeze_last": 20, "start_from": "best"} for phase in CONFIG["phases"]],
        "model": {"augment": rotated},
        "trainer": {"callbacks": watched},
    }
    given = {
        "phases": [{"name": name, "epochs": 1, "lr": 0.1} for name in ("a", "b")],
        "model": {"augment": [{"class_path": "RandomRotation", "init_args": {"factor": 0.1}}]},
        "trainer": {"callbacks": [{"class_path": "EarlyStopping", "init_args": {"monitor": "val_f1"}}]},
    }
    (tmp_path / "below.yaml").write_text(yaml.safe_dump(below))
    (tmp_path / "above.yaml").write_text(yaml.safe_dump(given))
    in_files = ("--config", "below.yaml", "--config", "above.yaml")
    in_words = (
        "--config", "below.yaml", "--phases", json.dumps(given["phases"]),
        "--model.augment", json.dumps(given["model"]["augment"]),  # type: ignore[call-overload]
        "--trainer.callbacks", json.dumps(given["trainer"]["callbacks"]),  # type: ignore[call-overload]
    )  # fmt: skip
    for words in (in_files, in_words):
        known = yaml.safe_load(run("fit", *words, "--print_config", cwd=tmp_path).out)
        plain = {"unfreeze_last": 0, "early_stopping": None, "scheduler": "none", "start_from": "last"}
        assert [{name: phase[name] for name in plain} for phase in known["phases"]] == [plain, plain]
        assert known["model"]["augment"][0]["init_args"]["fill_mode"] == "reflect"
        assert known["trainer"]["callbacks"][0]["init_args"]["patience"] == 3


def test_the_help_of_a_lists_items_stays(tmp_path: Path) -> None:
    assert "--model.augment.factor" in run("fit", "--model.augment.help", "RandomRotation", cwd=tmp_path).out
    assert "unfreeze_last" in run("fit", "--phases.help", cwd=tmp_path).out


def test_the_module_is_called_as_the_command_is(tmp_path: Path) -> None:
    environment = {**os.environ, FOLDER_VARIABLE: str(tmp_path)}
    words = [sys.executable, "-m", "lightning_tl", "fit", "--help"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: lightning-tl [options] fit ")
