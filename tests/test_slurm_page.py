"""docs/slurm.md: its script does what it says, and the real parsers take its commands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import parse_args

from lightning_tl.command import main

ROOT = Path(__file__).parent.parent
SCRIPT, *TORCHRUN = re.findall(
    r"^```bash\n(.*?)^```", (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="bash")


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command line makes of ``fit`` and its options, by itself."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["lightning-tl", *words, "--print_config"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    values: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return values


def run_script(folder: Path, status: int) -> tuple[int, list[str], str]:
    """Run the page's script where ``srun`` ends with ``status``: its own status, srun's words, scontrol's."""
    for name, body in (
        ("srun", f'printf "%s\\n" "$@" > srun.txt; exit {status}'),
        ("scontrol", 'echo "$@" > told.txt'),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_NNODES": "2"}
    (folder / "train.sh").write_text(SCRIPT)
    done = subprocess.run(["bash", "-u", "train.sh"], cwd=folder, env=environment, check=False)
    told = folder / "told.txt"
    return done.returncode, (folder / "srun.txt").read_text().splitlines(), told.read_text() if told.exists() else ""


def test_a_preempted_run_is_requeued_and_resumed(tmp_path: Path) -> None:
    status, words, told = run_script(tmp_path, 143)
    assert (status, told) == (143, "requeue 77\n")
    assert words[:3] == ["--kill-on-bad-exit=1", "lightning-tl", "fit"]
    assert "--ckpt_path" not in words
    (tmp_path / "runs/flowers_77/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/flowers_77/checkpoints/last.ckpt").touch()
    _, again, _ = run_script(tmp_path, 0)
    assert again == [*words, "--ckpt_path", "last"]
    assert words[words.index("--trainer.default_root_dir") + 1] == "runs/flowers_77"


@pytest.mark.parametrize("status", [0, 1, 2, 137])
def test_no_other_end_is_requeued(tmp_path: Path, status: int) -> None:
    assert run_script(tmp_path, status)[::2] == (status, "")


def test_the_command_line_takes_the_scripts_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, words, _ = run_script(tmp_path, 0)
    config = parsed([*words[2:], "--ckpt_path", "last"], monkeypatch, capsys)
    overlay = yaml.safe_load((ROOT / "configs/overlay/slurm.yaml").read_text())
    (plugin,), (wanted,) = config["trainer"]["plugins"], overlay["trainer"]["plugins"]
    assert plugin["class_path"] == wanted["class_path"]
    assert plugin["init_args"]["auto_requeue"] is wanted["init_args"]["auto_requeue"] is False
    assert (config["trainer"]["strategy"], config["trainer"]["num_nodes"]) == ("ddp", 2)
    assert config["checkpoint_every_n_steps"] == overlay["checkpoint_every_n_steps"] == 200
    assert "200 steps" in (ROOT / "docs" / "slurm.md").read_text().replace("\n", " ")
    assert (config["data"]["num_workers"], config["ckpt_path"]) == (7, "last")


@pytest.mark.parametrize("command", TORCHRUN, ids=["start", "continue"])
def test_torchrun_and_the_command_line_take_the_options(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *words = shlex.split(command.replace("\\\n", " "))
    options = parse_args(words)
    assert (name, options.training_script, options.module) == ("torchrun", "lightning_tl", True)
    assert (options.nnodes, options.nproc_per_node, options.rdzv_endpoint) == ("2", "4", "HOST:29500")
    config = parsed(options.training_script_args, monkeypatch, capsys)
    assert (config["trainer"]["num_nodes"], config["trainer"]["devices"]) == (2, "4")
