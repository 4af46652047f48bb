"""Runs in a process of its own for each backend, and leaves arrays and JSON in a folder for the tests to read.

python keras_worker.py FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from keras_ref.backend import select_backend

BACKEND = select_backend()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras_pictures import leave_pictures  # noqa: E402

from keras_ref.augment import Injected, from_config  # noqa: E402
from keras_ref.backbone import Backbone  # noqa: E402
from keras_ref.cli import main  # noqa: E402
from keras_ref.data.dataset import numpy_order  # noqa: E402
from keras_ref.errors import InputError  # noqa: E402
from keras_ref.evaluate import cross_entropy, draw_confusion_matrix  # noqa: E402
from keras_ref.head import SharedDropout, head_kernel, make_loss  # noqa: E402
from keras_ref.metrics import MacroF1  # noqa: E402
from keras_ref.naive import statistics_drift  # noqa: E402
from keras_ref.phase import Phase  # noqa: E402
from keras_ref.schedule import build_early_stopping, build_scheduler  # noqa: E402


def answer(folder: Path) -> dict[str, Any]:
    """Everything that is asked of Keras; the questions lie in ``folder``."""
    questions = json.loads((folder / "questions.json").read_text())
    images = np.load(folder / "images.npy").astype(np.float32)
    uniforms = np.load(folder / "uniforms.npy")
    for number, config in enumerate(questions["augment"]):
        np.save(folder / f"augmented_{number}.npy", augment(config, images, uniforms))
    dropout = SharedDropout(0.3)
    dropped = dropout(keras.ops.ones(uniforms.shape), keras.ops.convert_to_tensor(uniforms), training=True)
    np.save(folder / "dropped.npy", keras.ops.convert_to_numpy(dropped))
    np.save(folder / "head.npy", head_kernel(7, 3, seed=11))
    counts, names, title = questions["matrix"]
    draw_confusion_matrix(folder / "matrix.png", np.array(counts), names, title)
    return {
        "backend": keras.config.backend(),
        "drift": {"naive": statistics_drift(held=False), "held": statistics_drift(held=True)},
        "trainable": trainable(questions["unfreeze_last"]),
        "schedules": [schedule(Phase(**phase), questions["losses"]) for phase in questions["schedules"]],
        "f1": [f1(**questions["f1"], one_hot=one_hot) for one_hot in (False, True)],
        "stock": run_stock(folder, "stock"),
        "refusal": refusal(folder) if BACKEND == "torch" else None,  # a run more, of code that knows no backend
        "init_args": [refused_arguments(arguments) for arguments in ([1], 3, {"fator": 1})],
        "pictures": leave_pictures(folder),
        "saturated": saturated(),
        "orders": [numpy_order(seed)(epoch, np.arange(3, 33)).tolist() for seed, epoch in questions["orders"]],
        "loss": [loss(questions["probabilities"], questions["labels"], s) for s in questions["smoothing"]],
    }


def augment(config: dict[str, Any], images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Images as the injected layer makes them."""
    layer = Injected(from_config(config))
    numbers = keras.ops.convert_to_tensor(uniforms[:, : layer.draws])
    return keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(images), numbers, training=True))


def refused_arguments(arguments: Any) -> str:
    """What a transform says of them."""
    try:
        from_config({"class_path": "RandomContrast", "init_args": arguments})
    except InputError as error:
        return str(error)
    return "nothing"


def trainable(counts: list[Any]) -> list[int]:
    """Trainable tensors of the backbone for each ``unfreeze_last``."""
    backbone = Backbone((32, 32), alpha=0.35)
    return [len(backbone.unfreeze_last(count)) for count in counts]


def schedule(phase: Phase, losses: list[float]) -> dict[str, Any]:
    """Learning rate of each epoch, and after how many epochs early stopping ends the phase."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(phase.lr), "mse")
    callbacks = keras.callbacks.CallbackList([*build_scheduler(phase), *build_early_stopping(phase)], model=model)
    callbacks.on_train_begin()
    rates: list[float] = []
    model.stop_training = False
    for epoch, value in enumerate(losses[: phase.epochs]):
        callbacks.on_epoch_begin(epoch)
        rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        callbacks.on_epoch_end(epoch, dict.fromkeys(("val_loss", "val_accuracy", "val_f1"), value))
        if model.stop_training:
            break
    return {"rates": rates, "epochs": len(rates)}


def loss(probabilities: list[list[float]], labels: list[int], smoothing: float) -> float:
    """The training loss."""
    target = np.eye(len(probabilities[0]), dtype=np.float32)[labels] if smoothing else np.array(labels)
    return float(make_loss(smoothing)(target, np.array(probabilities, np.float32)))


def saturated() -> list[tuple[float, float]]:
    """The loss of mistakes that are more and more certain: as Keras evaluates them, and as predictions carry it."""
    scores = keras.Input((3,))
    model = keras.Model(scores, keras.layers.Activation("softmax")(scores))
    model.compile(loss=make_loss(0.0))
    found = []
    for certain in (1.0, 5.0, 15.0, 30.0):
        row, label = np.array([[certain, 0.0, -certain]], np.float32), np.array([2])
        found.append(
            (float(model.evaluate(row, label, verbose=0)), cross_entropy(model.predict(row, verbose=0), label))
        )
    return [(keras_loss, float(loss[0])) for keras_loss, loss in found]


def f1(probabilities: list[list[float]], labels: list[int], batch: int, one_hot: bool) -> float:
    """The metric of training, over batches."""
    metric, classes = MacroF1(len(probabilities[0])), len(probabilities[0])
    for start in range(0, len(labels), batch):
        label = np.array(labels[start : start + batch])
        target = np.eye(classes, dtype=np.float32)[label] if one_hot else label
        metric.update_state(target, np.array(probabilities[start : start + batch], np.float32))
    return float(metric.result())


def run_stock(folder: Path, name: str) -> int:
    """One phase of the config in the default mode, with Keras' own layers and streams; the exit status."""
    phases = "[{name: finetune, epochs: 2, lr: 1e-3, unfreeze_last: 20}]"
    options = ["--keras.draws=keras", "--phases", phases, "--trainer.default_root_dir", str(folder / name)]
    options += ["--data.image_size=64"]  # the smallest whose last feature map has places to tell apart, 2 x 2
    return main(["fit", "--config", str(folder / "config.yaml"), "--data.batch_size=4", *options])


def refusal(folder: Path) -> str:
    """What a run says whose BatchNorm is in training mode, as by the recipe's words in Keras 3.15."""
    with patch.object(Backbone, "call", lambda self, scaled: self.base(scaled, training=True)):
        try:
            run_stock(folder, "moving")
        except RuntimeError as error:
            return str(error)
    return "nothing"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "answers.json").write_text(json.dumps(answer(folder)))
    sys.exit(main(["fit", "--config", str(folder / "config.yaml"), "--data.batch_size=4"]))
