"""One framework in a process of its own: ``python -m benchmarks.worker``.

Lines of JSON on stdin; the first is the job (``Job``), each further one a request with ``do``: ``train`` (begin a fit
and measure it), ``more`` (measure it again), ``close`` (end it), ``evaluate``, ``losses``, ``reach``. Each gets one
line of JSON; ``error`` in it is a traceback, ``not_offered`` what the framework does not have. Thread counts are set
before anything that reads them is imported.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

from benchmarks.memory import reset_peak
from benchmarks.meter import Meter, Request
from benchmarks.runners.base import NotOfferedError

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
SHARED_GPU = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "JAX_PLATFORMS": "cuda,cpu",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
"""The order of nvidia-smi; and as several processes are alive at once, none may take all of the memory."""
NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
"""Read by cuBLAS and cuDNN, and by XLA for kernels of its own: float32 is float32 in every framework on a GPU."""


def pin(job: dict[str, Any]) -> None:
    """Keep to the job's cores and number of threads."""
    threads = str(job["threads"])
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = threads
    os.environ |= {
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "PYTHONWARNINGS": "ignore",
        **_for_accelerator(job["settings"]["accelerator"], job["precision"]),
        **{name: str(value) for name, value in job["environment"].items()},
    }


def _for_accelerator(accelerator: str, precision: str) -> dict[str, str]:
    if accelerator == "cpu":
        return NO_GPU
    return {**SHARED_GPU, **(NO_TF32 if precision == "float32" else {})}


class Conversation:
    """Requests in, answers out."""

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self._requests, self._answers = requests, answers

    def receive(self) -> Request:
        """The next request; ``quit`` when there will be none."""
        line = self._requests.readline()
        return json.loads(line) if line else {"do": "quit"}

    def answer(self, values: Request) -> None:
        """Send one line."""
        print(json.dumps(values), file=self._answers, flush=True)


def serve(conversation: Conversation, runner: Any) -> None:
    """Answer until there are no more requests."""
    pending: Request | None = None
    while (request := pending or conversation.receive())["do"] != "quit":
        pending = None
        try:
            pending = handle(conversation, runner, request)
        except NotOfferedError as error:
            conversation.answer({"not_offered": str(error)})
        except Exception:  # whatever it is, the asking side wants to read it
            conversation.answer({"error": traceback.format_exc()})


def handle(conversation: Conversation, runner: Any, request: Request) -> Request | None:
    """Answer one request; return the one that ended a fit and is still to be answered."""
    if request["do"] == "train":
        meter = _meter(runner, request, conversation, further=True)
        runner.train(request["phase"], request["source"], meter)
        meter.check()
        return meter.pending
    if request["do"] == "evaluate":
        meter = _meter(runner, request, conversation, further=False)
        runner.evaluate(request["what"], request["source"], request["skip"] + request["steps"], meter)
        meter.check()
    elif request["do"] == "losses":
        conversation.answer({"losses": runner.losses(request["phase"], request["steps"])})
    elif request["do"] == "reach":
        conversation.answer(runner.reach(request["accuracy"], request["epochs"]))
    else:  # close, when the fit has ended
        conversation.answer({})
    return None


def _meter(runner: Any, request: Request, conversation: Conversation, further: bool) -> Meter:
    """A new one, which knows nothing of earlier peaks; ``further`` requests are received in the middle of a fit."""
    reset_peak()
    runner.device.reset_peak()
    return Meter(request, conversation.answer, conversation.receive if further else None, runner.device)


def main() -> None:
    """Read the job, build the runner, serve."""
    # Libraries print what they like on stdout: answers go through a copy of it that they do not know.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    conversation = Conversation(sys.stdin, answers)
    job = conversation.receive()
    pin(job)
    try:
        runner = importlib.import_module(f"benchmarks.runners.{job['runner']}").Runner(job)
    except Exception:
        conversation.answer({"error": traceback.format_exc()})
        return
    conversation.answer({"ready": True})
    serve(conversation, runner)


if __name__ == "__main__":
    main()
