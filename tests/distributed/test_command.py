"""The command line on two processes: started by Lightning, by two torchrun agents, and as SLURM would."""

import sys
from pathlib import Path

import pytest
from commands import COMMAND, finish, free_port, read_results, read_rows, start, write_workplace

FIT = ("fit", "--config", "config.yaml", "--trainer.default_root_dir")
HALF = ("--data.batch_size", "4")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a config, and the run of one process in ``one``."""
    folder = tmp_path_factory.mktemp("distributed")
    write_workplace(folder)
    finish(start((*COMMAND, *FIT, "one"), folder))
    return folder


def check_same_run(workplace: Path, name: str) -> None:
    """The run folder is that of one process, up to the order of float32 sums."""
    one, two = workplace / "one", workplace / name
    for ours, theirs in zip(read_results(two)["phases"], read_results(one)["phases"], strict=True):
        assert ours["name"] == theirs["name"]
        assert [ours[key] for key in sorted(ours) if key != "name"] == pytest.approx(
            [theirs[key] for key in sorted(theirs) if key != "name"], rel=1e-4
        )
    ours, theirs = (read_rows(folder / "predictions.csv") for folder in (two, one))
    texts = [[row[key] for key in ("split", "path", "label", "predicted")] for row in ours]
    assert texts == [[row[key] for key in ("split", "path", "label", "predicted")] for row in theirs]
    assert read_results(two)["test"]["accuracy"] == read_results(one)["test"]["accuracy"]
    assert len(read_rows(two / "metrics.csv")) == len(read_rows(one / "metrics.csv"))
    assert not (workplace / name / "run_1").exists(), "only the first rank chooses the run folder"


def test_lightnings_own_processes(workplace: Path) -> None:
    options = ("--trainer.strategy", "ddp", "--trainer.devices", "2")
    (output,) = finish(start((*COMMAND, *FIT, "ddp", *HALF, *options), workplace))
    assert output.count("run folder: ddp") == 1
    check_same_run(workplace, "ddp")
    predict = ("predict", "--ckpt_path", "ddp/checkpoints/best.ckpt", "--data.root", "images", "--data.batch_size", "4")
    here = ("--trainer.accelerator", "cpu", "--trainer.default_root_dir", "predicted")
    finish(start((*COMMAND, *predict, *options, *here), workplace))
    rows = read_rows(workplace / "predicted" / "predictions.csv")
    assert [row["path"] for row in rows] == sorted(str(p) for p in Path("images").glob("*/*")) or len(rows) == 27


def test_spawned_processes(workplace: Path) -> None:
    options = ("--trainer.strategy", "ddp_spawn", "--trainer.devices", "2")
    finish(start((*COMMAND, *FIT, "spawn", *HALF, *options), workplace))
    check_same_run(workplace, "spawn")


def test_two_torchrun_agents(workplace: Path) -> None:
    """As on two machines: each agent knows its own processes alone and meets the other at an address."""
    meet = f"127.0.0.1:{free_port()}"
    agent = (sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1")
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", meet, "--rdzv-id", "test", "--local-addr", "127.0.0.1")
    options = ("--trainer.strategy", "ddp", "--trainer.devices", "1", "--trainer.num_nodes", "2")
    command = (*agent, *rendezvous, "-m", "lightning_tl", *FIT, "torchrun", *HALF, *options)
    outputs = finish(*(start(command, workplace) for _ in range(2)))
    assert sum(output.count("run folder: torchrun") for output in outputs) == 1
    check_same_run(workplace, "torchrun")


def test_slurm_with_its_overlay(workplace: Path) -> None:
    """The variables that ``srun`` sets for two tasks on two nodes, and configs/overlay/slurm.yaml."""
    overlay = Path(__file__).parents[2] / "configs" / "overlay" / "slurm.yaml"
    common = {
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2",
        "SLURM_NODELIST": "127.0.0.1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    fit = (*COMMAND, *FIT[:-1], "--config", overlay, "--trainer.default_root_dir", "slurm", *HALF)
    options = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.num_nodes", "2")
    tasks = [
        start(
            (*fit, *options),
            workplace,
            {**common, "SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank), "SLURM_LOCALID": "0"},
        )
        for rank in range(2)
    ]
    finish(*tasks)
    check_same_run(workplace, "slurm")


def test_strategies_that_divide_the_model_are_refused_before_training(workplace: Path) -> None:
    options = ("--trainer.strategy", "fsdp", "--trainer.devices", "1")
    (output,) = finish(start((*COMMAND, *FIT, "fsdp", *options), workplace), code=2)
    assert "trainer.strategy: " in output
    assert "Use auto, ddp" in output
