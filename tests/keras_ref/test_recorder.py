"""What is kept as the best where a loss is no number: what lightning_tl keeps."""

from pathlib import Path
from typing import Any

WORKER = """
import sys
from pathlib import Path
from keras_ref.backend import select_backend
select_backend()
import keras
import numpy as np
from keras_ref.recorder import METRICS, Recorder
from keras_ref.runfolder import BEST

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
recorder = Recorder(Path(sys.argv[1]), model)
recorder.set_model(model)
recorder.enter("head", images=8, steps=1, keep_best=True)
for epoch, loss in enumerate([float("nan"), 2.0, float("nan"), 3.0]):
    model.set_weights([np.full((1, 1), epoch)])
    recorder.on_epoch_end(epoch, {f"{part}{name}": loss for part in ("", "val_") for name in METRICS})
    print(None if recorder.phase_best is None else float(recorder.phase_best[1][0][0, 0]))
recorder.enter("finetune", images=8, steps=1, keep_best=True)
print(recorder.phase_best)
recorder.on_epoch_end(0, {f"{part}{name}": 5.0 for part in ("", "val_") for name in METRICS})
print(recorder.phase_best[0])
model.load_weights(Path(sys.argv[1]) / "checkpoints" / BEST)
print(float(model.get_weights()[0][0, 0]))
"""


def test_a_number_is_better_than_none(python: Any, tmp_path: Path) -> None:
    done = python(["-c", WORKER, tmp_path], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr
    *head, new, worse, best = done.stdout.split()
    assert head == ["None", "1.0", "1.0", "1.0"]
    assert (new, worse) == ("None", "5.0"), "the best of a phase is of that phase alone"
    assert best == "1.0", "that of the run is of all"
