"""Starts the command line in processes of its own, quickly: torch is imported once, then each process is forked.

``python starter.py``: reads one JSON request a line, answers each with one line.

- ``{"argv": [...], "cwd": ..., "environment": {...}, "log": FILE, "moment": {...}}`` forks a process that runs
  ``lightning-tl`` with ``argv`` and prints into ``log``; answers its process id, which is also its process group.
- ``{"wait": PID}`` answers how it ended: the exit status, or minus the signal that killed it.
"""

import gc
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from moments import plant

from lightning_tl import TransferClassifier
from lightning_tl.command import main
from lightning_tl.logger import event_logger

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:  # what every process would import and look up anew
    event_logger(Path(folder)).experiment.close()
    TransferClassifier(["a", "b"], backbone="timm/mobilenetv2_035", weights="none", image_size=32)


def enter(job: dict[str, Any]) -> None:
    """Make this process, just forked, what a shell would have started."""
    os.setpgid(0, 0)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, target in ((0, nothing), (1, log), (2, log)):
        os.dup2(target, stream)
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115  # the old one holds requests read ahead
    torch.set_num_threads(1)  # torch's pool does not survive a fork, and is not made anew by several threads at once
    os.chdir(job["cwd"])
    os.environ.update(job["environment"])
    rank_zero_only.rank = int(os.environ.get("SLURM_PROCID", "0"))  # Lightning reads it when it is imported
    sys.argv = ["lightning-tl", *job["argv"]]


gc.collect()
gc.freeze()  # or every process would look through all of torch once more when it ends

for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
    else:
        answer = os.fork()
        if answer == 0:
            enter(request)
            plant(request["moment"])
            sys.exit(main())
    print(answer, flush=True)
