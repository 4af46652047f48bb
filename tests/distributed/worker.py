"""Runs small fits, one after the other, in as many processes as each asks for; started by the tests beside it.

``python worker.py SPEC.json OUT``: SPEC is a list of jobs; rank 0 leaves ``OUT/<job>.pt`` for each.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from training import make_data, make_model, make_trainer

from lightning_tl import PhasedFinetuning, TransferClassifier
from lightning_tl.errors import DivergenceError, InputError
from lightning_tl.saving import LastCheckpoint

torch.set_num_threads(1)


class Nudge(Callback):
    """What a careless callback does: changes a weight on one rank alone."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank == 1 and trainer.current_epoch == 1 and batch_idx == 0:
            with torch.no_grad():
                pl_module.head.weight[0, 0] += 1e-7


class OneWrapper(PhasedFinetuning):
    """What Lightning's own BackboneFinetuning does: unfreezes inside the wrapper made for the frozen model."""

    def _rebuild(self, trainer: lightning.Trainer, module: TransferClassifier) -> None:
        trainer.strategy.setup_optimizers(trainer)


class Hooks:
    """Counts how often a strategy has given its wrapper the communication hook that a user asked for."""

    def __init__(self, strategy: Any) -> None:
        self.count, self._register = 0, strategy._register_ddp_hooks
        strategy._register_ddp_hooks = self

    def __call__(self) -> None:
        self.count += 1
        self._register()


class Steps(Callback):
    """By epoch: the losses logged, this rank's training images, and how many images went through its backbone."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.seen: list[list[int]] = []
        self.computed: list[int] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.seen.append([])
        self.computed.append(0)

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.seen[-1] += batch["index"].tolist()

    def count(self, backbone: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if self.computed:  # not the sanity check
            self.computed[-1] += len(inputs[0])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        names = ("val_loss", "val_accuracy", "val_f1", "train_loss", "train_accuracy")
        self.epochs.append({name: float(trainer.callback_metrics[name]) for name in names})


def run(job: dict[str, Any], out: Path) -> None:
    lightning.seed_everything(0, verbose=False)  # of the backbone's random weights
    options = {"batch_size": job["batch_size"], "val_fraction": 0.3, **job.get("data", {})}
    data = make_data(Path(job["root"]), **options)
    model = make_model(data, **job.get("model", {}))
    steps = Steps()
    options = {"precision": job.get("precision", "64-true"), "strategy": job["strategy"], "devices": job["devices"]}
    trainer = make_trainer(out, job["phases"], callbacks=[steps], **options, **job.get("trainer", {}))
    if job.get("plant") == "nudge":
        trainer.callbacks.append(Nudge())  # type: ignore[attr-defined]
    if job.get("plant") == "one wrapper":
        trainer.callbacks[0] = OneWrapper(job["phases"])  # type: ignore[attr-defined]
    rank = os.environ.get("LOCAL_RANK", 0)
    last = LastCheckpoint(out / f"{job['name']} of {rank}")  # of a folder that the other rank does not know
    if job.get("keeps"):
        trainer.callbacks.append(last)  # type: ignore[attr-defined]
    hooks = Hooks(trainer.strategy) if job["devices"] > 1 else None
    if model.cache_features:
        model.backbone.register_forward_pre_hook(steps.count)
    compiled = torch.compile(model, backend=job["compile"]) if "compile" in job else model
    left: dict[str, Any] = {"error": ""}
    try:
        trainer.fit(compiled, data)
    except (DivergenceError, InputError) as error:
        left["error"] = str(error)
    (out / f"{job['name']}.{trainer.global_rank}.txt").write_text(str(last.path))
    if trainer.is_global_zero:
        left |= {
            "weights": {k: v for k, v in model.state_dict().items() if v.is_floating_point()},
            "epochs": steps.epochs,
            "seen": steps.seen,
            "computed": steps.computed,
            "results": trainer.callbacks[0].results(),  # type: ignore[attr-defined]
            "history": trainer.callbacks[0].recorder.history,  # type: ignore[attr-defined]
            "world_size": trainer.world_size,
            "hooks": hooks.count if hooks else 0,
        }
        torch.save(left, out / f"{job['name']}.pt")


if __name__ == "__main__":
    for one in json.loads(Path(sys.argv[1]).read_text()):
        run(one, Path(sys.argv[2]))
