"""Save a grid of augmented training samples: one sample a row, the original first, then one epoch a column.

Usage: python scripts/augmentation_grid.py --config configs/folder.yaml --data.root IMAGES --output grid.png
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import get_loader

from lightning_tl import ImageFolderDataModule, InputError
from lightning_tl.augment import AugmentationPipeline, from_config, save_grid


def main() -> int:
    """Draw the grid; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a config of lightning-tl fit")
    parser.add_argument("--data.root", dest="root", help="folder of images, instead of the config's")
    parser.add_argument("--output", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--samples", type=int, default=6, help="rows")
    parser.add_argument("--epochs", type=int, default=7, help="augmented columns")
    args = parser.parse_args()
    try:
        save(args.config, args.root, args.output, args.samples, args.epochs)
    except InputError as error:
        print(f"augmentation_grid: error: {error}", file=sys.stderr)
        return 2
    return 0


def save(config_path: Path, root: str | None, output: Path, samples: int, epochs: int) -> None:
    """Augment the first ``samples`` images of epoch 0 as training with this config would."""
    config = read(config_path)
    data, model = block(config, "data"), block(config, "model")
    seed = config.get("seed_everything", 0)
    settings = {**data, **({"root": root} if root else {}), "num_workers": 0, "batch_size": samples, "seed": seed}
    try:
        module = ImageFolderDataModule(**settings)
    except TypeError as error:  # of an unknown name, or a text where a number should be
        raise InputError(f"config: the data of {config_path} cannot be used: {error}.") from error
    batch = next(iter(module.train_dataloader()))
    pipeline = AugmentationPipeline(
        [from_config(item) for item in model.get("augment") or []], model.get("fused", True)
    )
    try:
        with torch.no_grad():
            save_grid(output, batch["image"], batch["index"], pipeline, seed, epochs)
    except OSError as error:
        raise InputError(f"output: {output} cannot be written: {error.strerror}. Give another file.") from error


def read(path: Path) -> Mapping[str, Any]:
    """The config, by the loader that fit reads it with: to YAML 1.1 ``1e-3`` is text."""
    try:
        config = get_loader("yaml")(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config: {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config: {path} is no valid YAML: {error}.") from error
    if not isinstance(config, Mapping):
        raise InputError(f"config: {path} must map names to values. Received: {config!r}.")
    return config


def block(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A block of the config; empty where it is absent or null."""
    found = config.get(name)
    if not isinstance(found, Mapping | None):
        raise InputError(f"config: {name} must map names to values. Received: {found!r}.")
    return found or {}


if __name__ == "__main__":
    sys.exit(main())
