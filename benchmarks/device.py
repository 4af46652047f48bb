"""The device that a framework computes on: when it has done its work, and how much memory that took."""

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """What a meter asks of a device.

    Attributes:
        wait: returns when everything that the framework has asked for is computed.
        reset_peak: forgets the peak so far, where the framework lets one do so.
        peak_mb: largest memory of a GPU that the framework had in use, in MiB; None on a CPU.
    """

    wait: Callable[[], None] = lambda: None
    reset_peak: Callable[[], None] = lambda: None
    peak_mb: Callable[[], float | None] = lambda: None


DEVICES = {"cpu": "cpu", "gpu": "cuda"}
"""torch's names."""
CPU = Device()
"""Of a framework that returns when it has computed, as torch does on a CPU."""


def torch_device(accelerator: str) -> Device:
    """That of torch, on ``cpu`` or the ``gpu`` of this rank. Raises RuntimeError where it sees none."""
    import torch

    if accelerator == "cpu":
        return CPU
    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no GPU here")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return Device(
        torch.cuda.synchronize,
        torch.cuda.reset_peak_memory_stats,
        lambda: torch.cuda.max_memory_allocated() / 2**20,
    )


def jax_device(accelerator: str) -> Device:
    """That of JAX, which computes behind its caller's back on a CPU too; peaks are of its whole life.

    Raises:
        RuntimeError: it sees none.
    """
    import jax

    device = jax.devices(accelerator)[0]

    def wait() -> None:
        jax.block_until_ready(jax.live_arrays())

    if accelerator == "cpu":
        return Device(wait)
    return Device(wait, peak_mb=lambda: device.memory_stats()["peak_bytes_in_use"] / 2**20)


def tensorflow_device(accelerator: str) -> Device:
    """That of TensorFlow. Raises RuntimeError where it sees none."""
    import tensorflow as tf

    wait = tf.test.experimental.sync_devices
    if accelerator == "cpu":
        return Device(wait)
    if not tf.config.list_physical_devices("GPU"):
        raise RuntimeError(f"TensorFlow {tf.__version__} sees no GPU here")
    return Device(
        wait,
        lambda: tf.config.experimental.reset_memory_stats("GPU:0"),
        lambda: tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20,
    )


BY_BACKEND = {"torch": torch_device, "jax": jax_device, "tensorflow": tensorflow_device}
"""By the name of Keras' backend."""
