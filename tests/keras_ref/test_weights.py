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
