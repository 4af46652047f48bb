"""Save a grid of augmented training samples: one sample a row, the original first, then one epoch a column.

Usage: python scripts/augmentation_grid.py --config configs/folder.yaml --data.root IMAGES --output grid.png
"""

import argparse
import sys
from pathlib import Path

import torch
import yaml

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
    try:
        config = yaml.safe_load(config_path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config: {config_path} cannot be read: {error.strerror}.") from error
    settings = {**config.get("data", {}), **({"root": root} if root else {}), "num_workers": 0, "batch_size": samples}
    seed = config.get("seed_everything", 0)
    batch = next(iter(ImageFolderDataModule(**settings, seed=seed).train_dataloader()))
    model = config.get("model") or {}
    pipeline = AugmentationPipeline(
        [from_config(item) for item in model.get("augment") or []], model.get("fused", True)
    )
    with torch.no_grad():
        save_grid(output, batch["image"], batch["index"], pipeline, seed, epochs)


if __name__ == "__main__":
    sys.exit(main())
