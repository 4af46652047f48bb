"""Every config opens as a lab note, parses, and names things that exist."""

from pathlib import Path

import pytest
import yaml

from lightning_tl.augment import from_config
from lightning_tl.phase import make_phases

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_complete(path: Path) -> None:
    text = path.read_text()
    header = [line for line in text.splitlines() if line.startswith("# ")]
    for field in ("# Question:", "# Command:", "# Time:", "# Expected:"):
        assert any(line.startswith(field) for line in header), field
    config = yaml.safe_load(text)
    assert make_phases(config["phases"])
    assert [from_config(item) for item in config["model"]["augment"]]
    assert config["trainer"]["default_root_dir"].startswith("runs/")


def test_digits_are_never_flipped() -> None:
    config = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    assert not any("Flip" in item["class_path"] for item in config["model"]["augment"])
