"""One Keras backend at one precision, in a process of its own: ``python -m parity_tests.worker BACKEND DTYPE``.

Each line on stdin is a JSON request: ``job`` (``module.function`` within ``parity_tests.jobs``), ``options``,
``arrays`` (.npz to read, or null) and ``results`` (.npz to write). The answer is a JSON line: ``error``, null or
a traceback. Jobs know Keras and keras_ref and never lightning_tl; torch only where it is the backend.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

import numpy as np

SWITCHED = "float64"
"""Entry of Keras' private ``BIT64_TO_BIT32_DTYPE`` through which BatchNorm computes in float32 on torch, jax."""


def start(backend: str, dtype: str) -> None:
    """Import Keras with ``backend``; ``dtype`` is float32, float64, or float64-stock (nothing switched)."""
    os.environ |= {
        "KERAS_BACKEND": backend,
        "JAX_ENABLE_X64": str(int(dtype != "float32")),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    from keras_ref.backend import select_backend

    select_backend()
    import keras

    if dtype != "float32":
        keras.config.set_floatx("float64")
    if dtype == "float64" and backend != "tensorflow":
        switch_float64()


def switch_float64() -> None:
    """Let float64 be float64 everywhere: Keras' ``result_type`` otherwise makes float32 of it."""
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE[SWITCHED] = "float64"


def run_job(job: str, options: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that ``parity_tests.jobs.<module>.<function>`` makes."""
    module, _, function = job.rpartition(".")
    results = getattr(importlib.import_module(f"parity_tests.jobs.{module}"), function)(arrays, options)
    assert not any(name.split(".")[0] == "lightning_tl" for name in sys.modules), "theirs imported ours"
    return {name: np.asarray(value) for name, value in results.items()}


def answer(request: dict[str, Any]) -> dict[str, str | None]:
    """Run one request; the answer holds what went wrong."""
    try:
        arrays = dict(np.load(request["arrays"])) if request["arrays"] else {}
        np.savez(request["results"], **run_job(request["job"], request["options"], arrays))
    except Exception:  # whatever it is, the asking side wants to read it
        return {"error": traceback.format_exc()}
    return {"error": None}


def serve(requests: TextIO, answers: TextIO) -> None:
    for line in requests:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def main() -> None:
    # Libraries print what they like on stdout: answers go through a copy of it that they do not know.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start(*sys.argv[1:3])
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
