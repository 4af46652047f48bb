"""Seed for seed the same run with the options that ``configs/parity.yaml`` leaves alone; it needs no assets."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from parity_tests.processes import installed_backends
from parity_tests.weights import lived_in

ROOT = Path(__file__).parent.parent

CONFIG = """
seed_everything: 9
model:
  backbone_args: {width_mult: 0.35}
  dropout: 0.3
  fused: false
  class_weights: {0: 3.0, 2: 0.5}
  label_smoothing: 0.1
  augment:
    - {class_path: RandomFlip}
    - class_path: RandomTranslation
      init_args: {height_factor: 0.2, width_factor: [-0.1, 0.3], fill_mode: constant, fill_value: 90}
    - {class_path: RandomContrast, init_args: {factor: [0.3, 0.3]}}
    - {class_path: RandomBrightness, init_args: {factor: [-0.1, 0.2]}}
    - {class_path: lightning_tl.augment.ColorJitter, init_args: {brightness_factor: 0.1, contrast_factor: 0.1}}
data: {image_size: [64, 48], batch_size: 8, resize: crop, num_workers: 0, val_fraction: 0.25, test_fraction: 0.1}
phases:
  - {name: head, epochs: 4, lr: 2.0e-3, scheduler: plateau, scheduler_args: {factor: 0.5, patience: 0, threshold: 0.02}}
  - name: some
    epochs: 5
    lr: 1.0e-3
    unfreeze_last: 9
    start_from: best
    scheduler: cosine
    scheduler_args: {T_max: 2} # to zero, and up again
    early_stopping: {monitor: val_accuracy, mode: max, patience: 2}
  - name: all
    epochs: 2
    lr: 1.0e-4
    unfreeze_last: all
    start_from: best
    optimizer: {class_path: lightning_tl.optim.KerasAdam, init_args: {betas: [0.8, 0.9], eps: 1.0e-3}}
keras: {draws: shared}
pictures: false
trainer: {accelerator: cpu}
"""
"""No hue: compiled by JAX after two changes of brightness, Keras' takes a few pixels for other colours."""
QUIET = ("--trainer.enable_progress_bar=false",)


class Mistake(NamedTuple):
    """A line of one side that is another.

    Attributes:
        file: of the repository.
        line: what stands there once.
        instead: what is put in its place.
    """

    file: str
    line: str
    instead: str


THEIRS, OPTIM = "keras_ref/phases.py", "lightning_tl/optim.py"
MISTAKES = {
    "class weights left out": Mistake(THEIRS, "class_weight=class_weight_dict(", "class_weight=None and ("),
    "the last weights for the best": Mistake(THEIRS, "classifier.model.set_weights(recorder.phase_best[1])", "pass"),
    "no scheduler": Mistake(THEIRS, "callbacks=[*build_scheduler(phase), ", "callbacks=["),
    "no early stopping": Mistake(THEIRS, "*build_early_stopping(phase), ", ""),
    "betas swapped": Mistake(THEIRS, '("beta_1", "beta_2")', '("beta_2", "beta_1")'),
    "Keras' own epsilon": Mistake(THEIRS, "Adam(learning_rate=phase.lr, **options)",
                                  "Adam(learning_rate=phase.lr, **options | {'epsilon': 1e-7})"),
    "the default's second beta": Mistake(OPTIM, 'group["betas"][1] ** group["steps"]', '0.999 ** group["steps"]'),
    "the default epsilon": Mistake(OPTIM, 'group["eps"] = group["epsilon_hat"]', 'group["eps"] = KERAS_EPSILON'),
}  # fmt: skip


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command-line arguments: a network of random weights, and 36 pictures of three kinds."""
    folder = tmp_path_factory.mktemp("same_options")
    config = yaml.safe_load(CONFIG)
    config["model"]["weights"] = lived_in(0.35)
    config["data"]["root"] = str(folder / "images")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rng = np.random.default_rng(0)
    for label, wave in enumerate((0.1, 0.3, 0.6)):
        (folder / "images" / str(label)).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(picture(rng, label, wave)).save(folder / "images" / str(label) / f"{number}.png")
    return [str(folder / "config.yaml")]


def picture(rng: np.random.Generator, channel: int, wave: float) -> np.ndarray:
    """Waves of one colour in noise, uint8 (height, width, 3), of any size: cropping has something to do."""
    height, width = rng.integers(40, 90, 2)
    y, x = np.mgrid[:height, :width]
    pixels = 90 + 40 * np.sin(wave * x + rng.uniform(0, 6)) + 30 * np.cos(wave * y + rng.uniform(0, 6))
    coloured = pixels[..., None] + 70 * np.eye(3)[channel] + rng.normal(0, 20, (height, width, 3))
    return coloured.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def ours(study: ModuleType, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What lightning-tl fit left behind."""
    return study.train("lightning_tl", *arguments, QUIET, tmp_path_factory.mktemp("lightning") / "run")


@pytest.fixture(scope="module")
def theirs(
    keras_backend: str, study: ModuleType, arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """What keras_ref fit left behind, on each backend."""
    folder = tmp_path_factory.mktemp(keras_backend) / "run"
    return study.train("keras_ref", *arguments, (), folder, KERAS_BACKEND=keras_backend)


def lengths(run: dict[str, Any]) -> list[int]:
    """Epochs of each phase."""
    return [phase["epochs"] for phase in run["results"]["phases"]]


def test_keras_follows(study: ModuleType, ours: Any, theirs: Any) -> None:
    verdict = study.compare(ours, theirs)
    assert verdict["loss_error"] <= study.LOSS_TOLERANCE, verdict
    assert verdict["same_class"] == 1
    assert lengths(ours) == lengths(theirs)
    tests = [run["results"]["test"] for run in (ours, theirs)]
    assert [test["split"] for test in tests] == ["test", "test"]
    assert tests[0]["accuracy"] == pytest.approx(tests[1]["accuracy"], rel=1e-6)
    assert tests[0]["loss"] == pytest.approx(tests[1]["loss"], rel=study.LOSS_TOLERANCE)


def test_the_options_come_to_bear(ours: Any) -> None:
    """Else the run would be the same without them."""
    assert lengths(ours) == [4, 4, 2], "the second phase ends early, after its cosine has turned"
    losses = [epoch["val_loss"] for epoch in ours["epochs"]]
    head, some = losses[:4], losses[4:8]
    assert min(head) < head[-1], "the best weights of the first phase are not its last"
    assert min(some) < some[-1], "nor those of the second"
    assert any(after > 0.98 * min(head[:number]) for number, after in enumerate(head[1:-1], 1)), (
        "rates fall on a plateau"
    )
    assert some[1] == pytest.approx(some[2], rel=1e-6), "at the cosine's end the rate is zero"


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_another_run(
    name: str, study: ModuleType, arguments: list[str], ours: Any, tmp_path: Path
) -> None:
    """One line is another, of keras_ref, or of ours: both are held to ours as it is, which Keras follows."""
    if "torch" not in installed_backends():
        pytest.skip("the torch backend of Keras is not installed")
    package = with_mistake(tmp_path, MISTAKES[name])
    options: Sequence[str] = QUIET if package == "lightning_tl" else ()
    copy = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1", "KERAS_BACKEND": "torch"}
    other = study.train(package, *arguments, options, tmp_path / "run", **copy)
    if lengths(other) == lengths(ours):  # what other weights do to early stopping tells them apart too
        assert study.compare(ours, other)["loss_error"] > 10 * study.LOSS_TOLERANCE


def with_mistake(folder: Path, mistake: Mistake) -> str:
    """A copy in ``folder`` of the package that the mistake is in; its name."""
    package = mistake.file.partition("/")[0]
    shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / mistake.file).read_text()
    assert text.count(mistake.line) == 1, f"{mistake.file} has changed: say the mistake anew"
    (folder / mistake.file).write_text(text.replace(mistake.line, mistake.instead))
    return package
