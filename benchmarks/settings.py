"""What is measured, and on what: the same for every framework of a run."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.load import all_cores

AUGMENT: list[dict[str, Any]] = [
    {"class_path": "RandomFlip", "init_args": {"mode": "horizontal"}},
    {"class_path": "RandomRotation", "init_args": {"factor": 0.1}},
    {"class_path": "RandomZoom", "init_args": {"height_factor": 0.1}},
]
"""The recipe's augmentation."""

DROPOUT = 0.2
UNFREEZE_LAST = 20
PHASES = ("head", "finetune")
CACHE = "disk"
"""``data.cache`` where nothing else is asked for."""
PREFETCHED = 2
"""Batches that each process of torch's ``DataLoader`` prepares in advance."""


@dataclass(frozen=True)
class Settings:
    """One run's numbers.

    Attributes:
        image_size: pixels a side.
        batch_size: images a step.
        threads: of each framework.
        rounds: how often each framework is measured, one after the other.
        steps: measured in one round.
        skip: steps before them in each round, not measured: caches and clocks settle, and what a loader has prepared
            while others were measured is used up: see ``prepared``, which on two threads are fewer.
        warmup: steps before the first round; compilation happens here.
        images: training images held in memory, a multiple of ``batch_size``.
        val_images: held-out images in memory.
        files: JPEG files drawn, or taken at most from a folder that is given.
        head_lr: learning rate of phase head; ``finetune_lr`` that of phase finetune.
        alpha: width of MobileNetV2.
        seed: of data, weights, augmentation and dropout.
        accuracy: to be reached on the held-out images, as a fraction.
        epochs: of each phase, at most, to reach it.
        anew: whether that is done by a new process each time; before it was written down, by one that had done it.
        accelerator: ``cpu``, or ``gpu`` for NVIDIA's, of which each process takes the first.
        keras_pixels: type of the images in memory that Keras is given; before it was written down, float32.
        budget: seconds after which nothing further is begun, for a quick run; 0 for no limit.
    """

    image_size: int = 160
    batch_size: int = 32
    threads: int = field(default_factory=lambda: len(all_cores()))
    rounds: int = 7
    steps: int = 10
    skip: int = 5
    warmup: int = 4
    images: int = 320
    val_images: int = 96
    files: int = 600
    head_lr: float = 1e-3
    finetune_lr: float = 1e-5
    alpha: float = 1.0
    seed: int = 0
    accuracy: float = 0.8
    epochs: int = 10
    anew: bool = True
    accelerator: str = "cpu"
    keras_pixels: str = "uint8"
    budget: float = 0.0

    def __post_init__(self) -> None:
        low = [name for name in ("threads", "rounds", "steps", "batch_size") if getattr(self, name) < 1]
        low += [name for name in ("skip", "warmup", "images", "val_images", "files") if getattr(self, name) < 0]
        if low or self.image_size < 32:
            raise ValueError(f"{', '.join(low) or 'image_size'}: too small. Received: {self}.")
        if self.accelerator not in ("cpu", "gpu"):
            raise ValueError(f"--accelerator: one of cpu, gpu is needed. Received: {self.accelerator}.")

    @property
    def prepared(self) -> int:
        """Batches that a loader with a process for each thread has ready after a pause."""
        return PREFETCHED * self.threads

    @property
    def steps_of_a_fit(self) -> int:
        """Steps of a fit that is measured in every round, and batches that are prepared beyond them."""
        return self.warmup + 1 + self.rounds * (self.skip + self.steps) + self.prepared

    @property
    def batches(self) -> int:
        """Training batches in memory; at least one."""
        return max(1, self.images // self.batch_size)

    def lr(self, phase: str) -> float:
        """Learning rate of ``head`` or ``finetune``."""
        return self.head_lr if phase == "head" else self.finetune_lr

    def unfreeze_last(self, phase: str) -> int:
        """Trainable layers at the end of the backbone in ``head`` or ``finetune``."""
        return 0 if phase == "head" else UNFREEZE_LAST

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def on_a_gpu(self) -> "Settings":
        """Numbers for a GPU, whose steps are short: more of them, so that a measurement takes tenths of a second.

        Steps that are skipped outlast what loaders have prepared while others were measured.
        """
        return replace(
            self, accelerator="gpu", rounds=5, steps=100, skip=40, warmup=40, images=640, files=4_480,
        )  # fmt: skip

    def quick(self) -> "Settings":
        """Numbers for a look in five minutes on 2 cores: smaller images and fewer of everything."""
        return replace(
            self, image_size=96, batch_size=16, rounds=3, steps=4, skip=1, warmup=2, images=96, val_images=32,
            files=160, epochs=3, budget=120.0,
        )  # fmt: skip
