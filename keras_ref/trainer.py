"""The ``trainer`` block: what is of Lightning alone is ignored, what would change the numbers is refused.

differs: in lightning_tl these are the arguments of Lightning's own Trainer.
"""

from collections.abc import Mapping
from typing import Any

from keras_ref.errors import InputError

HARMLESS = (
    "accelerator", "strategy", "logger", "num_sanity_val_steps", "log_every_n_steps", "enable_checkpointing",
    "enable_progress_bar", "enable_model_summary", "enable_autolog_hparams", "gradient_clip_algorithm",
    "deterministic", "benchmark", "inference_mode", "use_distributed_sampler", "profiler", "detect_anomaly",
    "barebones", "sync_batchnorm", "reload_dataloaders_every_n_epochs", "default_root_dir", "model_registry",
)  # fmt: skip
"""Where and how Lightning runs: not what is computed."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "precision": (None, 32, "32", "32-true"),
    "gradient_clip_val": (None, 0, 0.0),
    "accumulate_grad_batches": (None, 1),
    "limit_train_batches": (None, 1.0),
    "limit_val_batches": (None, 1.0),
    "limit_test_batches": (None, 1.0),
    "limit_predict_batches": (None, 1.0),
    "overfit_batches": (None, 0, 0.0),
    "fast_dev_run": (None, False, 0),
    "val_check_interval": (None, 1.0),
    "check_val_every_n_epoch": (None, 1),
    "min_epochs": (None, 0, 1),
    "min_steps": (None, 0),
    "max_steps": (None, -1),
    "max_time": (None,),
}
"""Values at which a setting changes nothing. ``1`` batch is no ``1.0``, all of them."""


DEVICES: dict[str, tuple[Any, ...]] = {"devices": (None, "auto", 1, "1"), "num_nodes": (None, 1)}
"""Likewise, unless the global batch is fixed, which any number of devices divides among them."""

WATCHING = {
    "callbacks": (
        "TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary", "LearningRateMonitor",
        "DeviceStatsMonitor", "ThroughputMonitor", "ModelCheckpoint", "OnExceptionCheckpoint", "RunProgressBar",
    ),
    "plugins": (
        "SLURMEnvironment", "LightningEnvironment", "TorchElasticEnvironment", "KubeflowEnvironment", "LSFEnvironment",
        "MPIEnvironment", "XLAEnvironment", "TorchCheckpointIO", "AsyncCheckpointIO", "RunCheckpointIO",
    ),
}  # fmt: skip
"""Classes that look on, save or find the other processes; of others nobody knows what they change."""


def check_trainer(values: Mapping[str, Any], epochs: int, fixed_batch: bool = False) -> None:
    """Refuse settings that the reference does not follow.

    Args:
        values: the block; its keys are known.
        epochs: of all phases together, which own their number.
        fixed_batch: whether ``data.batch_size`` is that of all devices together.

    Raises:
        InputError: a setting that would change the numbers, named.
    """
    devices = {} if fixed_batch else DEVICES
    for key, neutral in {**NEUTRAL, **devices, "max_epochs": (None, -1, epochs)}.items():
        value = values.get(key)
        if not any(value == known and type(value) is type(known) for known in neutral):
            known = ", ".join("null" if item is None else str(item) for item in neutral)
            raise InputError(f"trainer.{key}: the reference does not follow it; give {known}. Received: {value!r}.")
    for key, watching in WATCHING.items():
        value = values.get(key) or []
        for item in value if isinstance(value, list) else [value]:
            path = item.get("class_path") if isinstance(item, Mapping) else item
            if str(path).rpartition(".")[2] not in watching:
                raise InputError(
                    f"trainer.{key}: the reference cannot tell what it changes; leave it out. Received: {item!r}."
                )
