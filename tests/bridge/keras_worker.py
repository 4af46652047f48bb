"""Script: what plain Keras says, from a process that does not know lightning_tl.

keras_worker.py describe FOLDER [ASSETS]  layer lists; files in every format; features of images
keras_worker.py predict FOLDER            probabilities by every export*.keras in the folder
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

LISTS = ((0.25, None), (0.35, None), (1.0, None), (1.0, "avg"))


def describe(folder: Path, assets: str | None = None) -> None:
    lists = {f"{alpha:g}/{pooling}": facts(alpha, pooling) for alpha, pooling in LISTS}
    (folder / "layers.json").write_text(json.dumps(lists))
    base = backbone(0.35)
    whole = model(base)
    live(whole)
    np.savez(folder / "variables.npz", **{v.path: v.value.detach().cpu().numpy() for v in base.variables})
    np.save(folder / "features.npy", features(base, folder))
    np.save(folder / "kernel.npy", whole.layers[-1].kernel.value.detach().cpu().numpy())
    for alpha in (0.35, 1.0) if assets else ():
        file = f"{assets}/weights/keras_mobilenet_v2_{alpha}_224_no_top.h5"
        real = keras.applications.MobileNetV2((96, 97, 3), alpha, include_top=False, weights=file)
        np.save(folder / f"real_{alpha}.npy", features(real, folder))
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type] # saving would import it, which is slow
    for name, item in (("base", base), ("whole", whole)):
        item.save(folder / f"{name}.keras")
        item.save(folder / f"{name}.h5")
        item.save_weights(folder / f"{name}.weights.h5")


def facts(alpha: float, pooling: str | None) -> dict[str, object]:
    base = backbone(alpha, pooling)
    last = [weight for layer in base.layers[-20:] for weight in layer.trainable_weights]
    return {
        "layers": [[layer.name, type(layer).__name__] for layer in base.layers],
        "variables": [[v.path, list(v.shape)] for layer in base.layers for v in layer.weights],
        "last_20_tensors": len(last),
        "last_20_parameters": int(sum(np.prod(weight.shape) for weight in last)),
    }


def backbone(alpha: float, pooling: str | None = None) -> keras.Model:
    keras.backend.clear_session()  # so that the input layer is called input_layer
    return keras.applications.MobileNetV2((96, 97, 3), alpha, include_top=False, weights=None, pooling=pooling)


def live(item: keras.Model) -> None:
    """Variables such as training leaves them, not those of a new model."""
    rng = np.random.default_rng(0)
    for variable in item.variables:
        if variable.dtype == "float32":
            low, high = (0.5, 1.5) if "variance" in variable.path or "gamma" in variable.path else (-0.3, 0.3)
            variable.assign(rng.uniform(low, high, variable.shape))


def model(base: keras.Model) -> keras.Model:
    """The recipe's whole model."""
    pixels = keras.Input((96, 97, 3))
    x = keras.layers.RandomFlip("horizontal")(pixels)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(pixels, keras.layers.Dense(4, activation="softmax")(x))


def features(base: keras.Model, folder: Path) -> np.ndarray:
    scaled = keras.applications.mobilenet_v2.preprocess_input(np.load(folder / "images.npy").astype("float32"))
    return base.predict(scaled, verbose=0).mean((1, 2))


def predict(folder: Path) -> None:
    images = np.load(folder / "images.npy")
    for path in sorted(folder.glob("export*.keras")):
        loaded = keras.saving.load_model(path)
        np.savez(path.with_suffix(".npz"), uint8=loaded.predict(images, verbose=0),
                 float32=loaded.predict(images.astype("float32"), verbose=0),
                 last=[layer.name for layer in find_base(loaded).layers[-20:]])  # fmt: skip
        loaded.save_weights(path.with_suffix(".weights.h5"))
    assert not any(name.startswith("lightning_tl") for name in sys.modules)


def find_base(loaded: keras.Model) -> keras.Model:
    return next(layer for layer in loaded.layers if isinstance(layer, keras.Model))


if __name__ == "__main__":
    {"describe": describe, "predict": predict}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
