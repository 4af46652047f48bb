"""Weights from strangers: the reference too takes the numbers out of a Keras file and runs nothing in it."""

import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import base64, json, marshal, sys, zipfile
import keras, numpy as np
from keras_ref.weights import load_weights

def base():
    return keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None)

sound, other = base(), base()
sound.save("sound.keras")
code = base64.b64encode(marshal.dumps(compile("open('ran', 'w')", "lambda", "eval"))).decode()
function = {"class_name": "__lambda__", "config": {"code": code}}
layers = [{"class_name": "Lambda", "module": "keras.layers", "config": {"name": "l", "function": function}},
          {"class_name": "Popen", "module": "subprocess", "config": {"args": ["touch", "ran"]}}]
with zipfile.ZipFile("sound.keras") as old, zipfile.ZipFile("hostile.keras", "w") as new:
    for name in old.namelist():
        content = old.read(name)
        if name == "config.json":
            config = json.loads(content)
            config["config"]["layers"] += layers
            content = json.dumps(config)
        new.writestr(name, content)
load_weights(other, "hostile.keras", 0.35)
same = [bool(np.array_equal(a, b)) for a, b in zip(sound.get_weights(), other.get_weights(), strict=True)]
print(json.dumps({"same": all(same), "tensors": len(same)}))
"""


def test_layers_of_code_in_a_keras_file_are_not_run(tmp_path: Path, python: Any) -> None:
    pytest.importorskip("keras")
    script = f"import os; os.chdir({str(tmp_path)!r})\n{SCRIPT}"
    done = python(["-c", script], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"same": True, "tensors": 260}
    assert not (tmp_path / "ran").exists()
