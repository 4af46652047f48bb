"""Weights of the reference: where its download goes, and what is said of files that are no good."""

from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
from pathlib import Path
from keras_ref.backend import CACHE, select_backend
select_backend()
import h5py
import keras
from keras_ref.errors import InputError
from keras_ref.weights import load_weights

class Base:
    def __init__(self, error=None):
        self.error = error

    def load_weights(self, path):
        if self.error is not None:
            raise self.error

def told(*arguments):
    try:
        return load_weights(*arguments)["source"]
    except InputError as error:
        return error

def get_file(name, url, cache_subdir, cache_dir):
    print(cache_dir.is_dir())
    path = Path(cache_dir) / cache_subdir / name
    path.parent.mkdir()
    path.write_bytes(b"half of it")
    return path

h5py.File(Path("~/own.h5").expanduser(), "w").close()
print(told(Base(), "~/own.h5"))
print(told(Base(KeyError()), "~/own.h5"))
assert not CACHE.exists()
keras.utils.get_file = get_file
print(told(keras.applications.MobileNetV2((32, 32, 3), include_top=False, weights=None), "imagenet"))
"""


def test_files_at_home_damaged_files_and_the_place_of_downloads(tmp_path: Path, python: Any) -> None:
    pytest.importorskip("keras")
    done = python(["-c", SCRIPT], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr[-3000:]
    found, silent, there, damaged = done.stdout.splitlines()
    assert found == str(tmp_path / "own.h5")
    assert silent == f"weights: {found} does not hold MobileNetV2 without top at width 1.0: KeyError"
    assert there == "True"
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    assert damaged.startswith(f"weights: {tmp_path}/.keras/models/{name}, as Keras has downloaded it, is damaged (")
    assert damaged.endswith("). Delete it, to have it fetched anew.")


WHOLE = """
import sys
import keras, numpy as np
from keras_ref.backbone import Backbone
from keras_ref.errors import InputError
from keras_ref.weights import load_weights

def base():
    return keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None)

def classifier(network):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(network(keras.layers.Rescaling(1 / 127.5, -1)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Dropout(0.2)(x)))

def same(path, network):
    other = base()
    load_weights(other, path, 0.35)
    return all(np.array_equal(a, b) for a, b in zip(network.get_weights(), other.get_weights(), strict=True))

ours, theirs = Backbone((32, 32), 0.35), base()
run, recipe = classifier(ours), classifier(theirs)
run.save_weights("run.weights.h5")
recipe.save_weights("recipe.weights.h5")
recipe.save("recipe.keras")
theirs.save_weights("network.weights.h5")
print(same("run.weights.h5", ours.base))
print(*(same(name, theirs) for name in ("recipe.weights.h5", "recipe.keras", "network.weights.h5")))
keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights("dense.weights.h5")
try:
    same("dense.weights.h5", theirs)
except InputError as error:
    print(error)
"""


def test_a_network_is_read_out_of_a_whole_model(tmp_path: Path, python: Any) -> None:
    """Such as a run of keras_ref leaves, or a user's own: lightning_tl reads them too."""
    pytest.importorskip("keras")
    done = python(["-c", f"import os; os.chdir({str(tmp_path)!r})\n{WHOLE}"], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr[-3000:]
    run, models, other = done.stdout.splitlines()
    assert (run, models) == ("True", "True True True")
    assert other.startswith("weights: dense.weights.h5 does not hold MobileNetV2 without top at width 0.35: ")
