"""The same answers from every backend, held to torch and to what lightning_tl does."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassF1Score

from lightning_tl.augment import from_config
from lightning_tl.evaluate import draw_confusion_matrix
from lightning_tl.head import linear_head, weighted_loss
from lightning_tl.phase import Phase
from lightning_tl.schedule import build_scheduler
from lightning_tl.stopping import PhaseStopping

AUGMENTATION_TOLERANCE = 2e-3
"""On [0, 255]: float32 coordinates of sides up to 24 are exact to 2e-6 pixels, neighbours differ by up to 255."""


def test_the_backend_is_the_one_asked_for(keras_side: Any) -> None:
    assert f"keras_{keras_side.answers['backend']}" in keras_side.folder.name


def test_the_naive_form_moves_batchnorm_and_ours_does_not(keras_side: Any) -> None:
    drift = keras_side.answers["drift"]
    assert drift["held"] == 0.0
    # One step at momentum 0.9 over inputs of 3.0. Where this fails, Keras has been repaired: say so in the docs.
    assert drift["naive"] == pytest.approx(0.3, abs=1e-6)


def test_a_run_whose_statistics_move_is_refused(keras_side: Any) -> None:
    if keras_side.answers["backend"] != "torch":
        pytest.skip("asked of torch alone")
    assert "BatchNorm has not stayed in inference mode: 14 of 104 moving statistics" in keras_side.answers["refusal"]
    assert not (keras_side.folder / "moving" / "results.json").exists()


def test_arguments_that_no_transform_takes_are_named(keras_side: Any) -> None:
    for message, arguments in zip(keras_side.answers["init_args"], ([1], 3, {"fator": 1}), strict=True):
        assert message.startswith(f"RandomContrast: Keras refuses init_args {arguments!r}: ")


def test_a_run_with_keras_own_draws_trains(keras_side: Any) -> None:
    assert keras_side.answers["stock"] == 0
    results = json.loads((keras_side.folder / "stock" / "results.json").read_text())
    assert [(phase["name"], phase["epochs"]) for phase in results["phases"]] == [("finetune", 2)]
    with (keras_side.folder / "stock" / "metrics.csv").open(newline="") as file:
        first, second = (float(row["train_loss"]) for row in csv.DictReader(file))
    assert second < first


def test_where_keras_draws_each_epoch_and_seed_has_an_order_of_its_own(keras_side: Any) -> None:
    first, again, *others = keras_side.answers["orders"]
    assert first == again
    assert all(sorted(order) == list(range(3, 33)) for order in (first, *others))
    assert len(set(map(tuple, (first, *others, range(3, 33))))) == 4


def test_f1_is_that_of_torchmetrics(keras_side: Any, ref_questions: Any) -> None:
    asked = ref_questions["f1"]
    expected = MulticlassF1Score(4, average="macro")(
        torch.tensor(asked["probabilities"]), torch.tensor(asked["labels"])
    )
    assert keras_side.answers["f1"] == pytest.approx([float(expected)] * 2)


def test_trainable_tensors_are_those_of_the_last_layers(keras_side: Any) -> None:
    none, _, nineteen, twenty, twenty_one, every = keras_side.answers["trainable"]
    assert (none, twenty, every) == (0, 21, 156)
    assert nineteen <= twenty <= twenty_one


@pytest.mark.parametrize("number", range(9))
def test_injected_augmentation_is_that_of_lightning_tl(keras_side: Any, number: int, ref_questions: Any) -> None:
    transform = from_config(ref_questions["augment"][number])
    images = torch.from_numpy(keras_side.array("images")).permute(0, 3, 1, 2)
    uniforms = torch.from_numpy(keras_side.array("uniforms"))
    expected = transform.apply(images, transform.draw(uniforms[:, : transform.draws])).permute(0, 2, 3, 1)
    received = keras_side.array(f"augmented_{number}")
    assert np.abs(received - images.permute(0, 2, 3, 1).numpy()).max() > 1
    np.testing.assert_allclose(received, expected.numpy(), atol=AUGMENTATION_TOLERANCE, rtol=0)


def test_dropout_keeps_where_the_uniform_number_reaches_the_rate(keras_side: Any) -> None:
    uniforms = keras_side.array("uniforms")
    expected = np.where(uniforms >= 0.3, np.float32(1) / np.float32(0.7), 0)
    np.testing.assert_allclose(keras_side.array("dropped"), expected, rtol=1e-6)


def test_the_head_begins_with_the_weights_of_lightning_tl(keras_side: Any) -> None:
    expected = linear_head(7, 3, seed=11).weight.detach().numpy().T
    np.testing.assert_array_equal(keras_side.array("head"), expected)


def test_the_loss_is_that_of_lightning_tl(keras_side: Any, ref_questions: Any) -> None:
    logits = torch.log(torch.tensor(ref_questions["probabilities"]))
    labels = torch.tensor(ref_questions["labels"])
    for smoothing, received in zip(ref_questions["smoothing"], keras_side.answers["loss"], strict=True):
        assert received == pytest.approx(float(weighted_loss(logits, labels, None, smoothing)), rel=1e-6)


def test_the_loss_of_a_prediction_is_that_of_validation_also_where_keras_clips(keras_side: Any) -> None:
    """On TensorFlow it does not: there it finds the logits again."""
    found = keras_side.answers["saturated"]
    for theirs, ours in found:
        assert ours == pytest.approx(theirs, rel=1e-5)
    worst = 60 if keras_side.answers["backend"] == "tensorflow" else 16.118
    assert found[-1][1] == pytest.approx(worst, rel=1e-4)


@pytest.mark.parametrize("number", range(6))
def test_learning_rates_are_those_of_torch(keras_side: Any, number: int, ref_questions: Any) -> None:
    phase = Phase(**ref_questions["schedules"][number])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=phase.lr)
    config = build_scheduler(optimizer, phase)
    assert config is not None
    rates = []
    for loss in ref_questions["losses"]:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        config["scheduler"].step(*([loss] if "monitor" in config else []))
    assert len(set(rates)) > 1
    received = keras_side.answers["schedules"][number]["rates"]
    np.testing.assert_allclose(received, rates, rtol=1e-5, atol=1e-9)  # Keras keeps the rate in float32


@pytest.mark.parametrize("number", range(6, 11))
def test_early_stopping_decides_as_lightning_does(keras_side: Any, number: int, ref_questions: Any) -> None:
    stopper = PhaseStopping(Phase(**ref_questions["schedules"][number]))._stopper
    assert stopper is not None
    decisions = [stopper._evaluate_stopping_criteria(torch.tensor(loss))[0] for loss in ref_questions["losses"]]
    assert True in decisions
    assert keras_side.answers["schedules"][number]["epochs"] == decisions.index(True) + 1


def test_the_picture_of_a_confusion_matrix_is_that_of_lightning_tl(
    keras_side: Any, ref_questions: Any, tmp_path: Path
) -> None:
    """Whose cells its own tests look at."""
    counts, names, title = ref_questions["matrix"]
    draw_confusion_matrix(tmp_path / "ours.png", np.array(counts), names, title)
    assert (keras_side.folder / "matrix.png").read_bytes() == (tmp_path / "ours.png").read_bytes()
