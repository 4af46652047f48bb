"""Claims 4, 7 and 11: gradients, BatchNorm, and the whole trajectory over both phases."""

from typing import Any

import numpy as np

from lightning_tl.augment import AugmentationPipeline, from_config
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.compare import absolute, distance, relative, worst
from parity_tests.fit import Run, train
from parity_tests.mirror import adam_for, zoom_for
from parity_tests.names import state
from parity_tests.pictures import pictures
from parity_tests.processes import Arrays, KerasProcess
from parity_tests.weights import lived_in, real

Config = dict[str, Any]

ALPHA, SIZE, SEED = 0.35, (64, 64), 3
HEAD = {"name": "head", "epochs": 1, "lr": 1e-3, "unfreeze_last": 0}
FINETUNE = {"name": "finetune", "epochs": 1, "lr": 1e-5, "unfreeze_last": 20}
AUGMENT = [
    {"class_path": "RandomFlip", "init_args": {"mode": "horizontal"}},
    {"class_path": "RandomRotation", "init_args": {"factor": 0.1}},
    {"class_path": "RandomZoom", "init_args": {"height_factor": 0.1}},
]
NONE: list[Config] = []
SHARES = (0.84, 0.04, 0.04, 0.04, 0.04)
"""Of the classes: uneven, so that the bias of the head travels too."""


def batches(phases: int, steps: int, batch: int, augmented: bool = True) -> Arrays:
    """Pictures, augmented once by our layers or left as uint8, with labels, each phase in an order of its own."""
    count = steps * batch
    images = pictures(count, *SIZE, seed=1)
    rng = np.random.default_rng(2)
    order = np.stack([rng.permutation(count) for _ in range(phases)]).reshape(phases, steps, batch)
    labels = rng.choice(ours.CLASSES, count, p=SHARES)
    if augmented:
        images = augment(images)
    return {"images": images[order], "labels": labels[order], "index": order}


def augment(images: np.ndarray) -> np.ndarray:
    """Images as an epoch of the recipe sees them: float32 in [0, 255]."""
    pipeline = AugmentationPipeline([from_config(item) for item in AUGMENT], fused=False)
    tensor = ours.to_torch(images, float64=False)
    return ours.to_numpy(pipeline(tensor, ours.index(len(images)), SEED, 0))


def both(
    theirs: KerasProcess,
    job: str,
    phases: list[Config],
    arrays: Arrays,
    weights: str,
    augment: list[Config] = NONE,
    library: ours.Library = "torchvision",
) -> tuple[Run, Arrays]:
    """Our run, and what ``job`` of ``parity_tests.jobs.training`` says of theirs."""
    common = {"weights": weights, "alpha": ALPHA, "size": SIZE, "seed": SEED}
    options = {**common, "augment": augment, "phases": phases, "classes": ours.CLASSES}
    expected = theirs.call(f"training.{job}", options, **arrays)
    mirrored = [{**item, "class_path": zoom_for(item["class_path"], theirs.dtype)} for item in augment]
    model = ours.classifier(**common, float64=theirs.float64, library=library, fused=False, augment=mirrored)
    optimizer = adam_for(theirs.backend, theirs.dtype)
    told = [{**phase, "optimizer": optimizer} for phase in phases]
    return train(model, told, arrays, theirs.float64, library, ALPHA), expected


@claim(
    "batchnorm-still",
    7,
    "No moving statistic of BatchNorm changes in either phase, on either side, by even a bit.",
    dtypes=("float32",),
)
def batchnorm_still(theirs: KerasProcess) -> dict[str, float]:
    weights = lived_in(ALPHA)
    run, expected = both(theirs, "trajectory", [HEAD, FINETUNE], batches(2, 3, 4), weights)
    before = state(ours.classifier(weights, ALPHA, SIZE, theirs.float64), "torchvision", ALPHA)
    errors = {"naive form held": float(theirs.call("training.drift")["held"])}
    for side, after in (("ours", run.weights), ("theirs", expected)):
        statistics = {name: value for name, value in after.items() if "/moving_" in name}
        assert len(statistics) == 2 * 104, "two statistics of 52 layers after two phases"
        errors[side] = max(absolute(value, before[name.partition("/")[2]]) for name, value in statistics.items())
    return errors


@claim("gradients", 4, "The gradient of every trainable tensor is equal in both phases, relative to its largest.")
def gradients(theirs: KerasProcess) -> dict[str, float]:
    arrays = batches(1, 1, 4)
    errors = {}
    for phase in (HEAD, FINETUNE):
        run, expected = both(theirs, "gradients", [phase], arrays, lived_in(ALPHA))
        errors[str(phase["name"])] = worst(run.gradients, expected)
    return errors


def trajectory_errors(run: Run, expected: Arrays) -> dict[str, float]:
    """Of the losses and of every weight after each phase."""
    losses = expected.pop("loss")
    return {"losses": relative(run.losses, losses), "weights": worst(run.weights, expected, distance)}


@claim(
    "trajectory",
    11,
    "After 50 + 50 steps over both phases, on augmented images with dropout, every loss is equal (relative to the "
    "largest) and every weight tensor (norm of the difference, relative to its own norm).",
)
def trajectory(theirs: KerasProcess) -> dict[str, float]:
    return trajectory_errors(*both(theirs, "trajectory", [HEAD, FINETUNE], batches(2, 50, 4), lived_in(ALPHA)))


@claim("trajectory-timm", 11, "The same with timm's network, 10 + 10 steps.")
def trajectory_timm(theirs: KerasProcess) -> dict[str, float]:
    arrays, weights = batches(2, 10, 4), lived_in(ALPHA)
    return trajectory_errors(*both(theirs, "trajectory", [HEAD, FINETUNE], arrays, weights, library="timm"))


@claim("trajectory-real", 11, "The same from Keras' ImageNet weights, 15 + 15 steps.")
def trajectory_real(theirs: KerasProcess) -> dict[str, float]:
    return trajectory_errors(*both(theirs, "trajectory", [HEAD, FINETUNE], batches(2, 15, 4), real(ALPHA)))


@claim(
    "trajectory-augmented",
    11,
    "The same with flip, rotation and zoom inside the loop, by one definition of the draws.",
    dtypes=("float64",),
    backends=("torch", "jax"),
)
def trajectory_augmented(theirs: KerasProcess) -> dict[str, float]:
    arrays = batches(2, 50, 4, augmented=False)
    return trajectory_errors(*both(theirs, "trajectory", [HEAD, FINETUNE], arrays, lived_in(ALPHA), AUGMENT))
