"""The command line on two processes: started by Lightning, by two torchrun agents, and as SLURM would."""

import json
import sys
from pathlib import Path

import lightning
import pytest
from commands import (
    COMMAND,
    check_same_run,
    finish,
    free_port,
    read_results,
    read_rows,
    slurm_tasks,
    start,
    write_workplace,
)
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from lightning_tl.command import main
from lightning_tl.devices import check_strategy
from lightning_tl.errors import InputError

FIT = ("fit", "--config", "config.yaml", "--trainer.default_root_dir")
HALF = ("--data.batch_size", "4")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a config, and the run of one process in ``one``."""
    folder = tmp_path_factory.mktemp("distributed")
    write_workplace(folder)
    finish(start((*COMMAND, *FIT, "one"), folder))
    return folder


def images(workplace: Path) -> list[Path]:
    return list((workplace / "images").glob("*/*"))


def test_lightnings_own_processes(workplace: Path) -> None:
    options = ("--trainer.strategy", "ddp", "--trainer.devices", "2")
    (output,) = finish(start((*COMMAND, *FIT, "ddp", *HALF, *options), workplace))
    assert output.count("run folder: ddp") == 1
    check_same_run(workplace / "ddp", workplace / "one")


def test_evaluation_sees_each_image_once_and_gives_the_values_of_one_process(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (evaluations(devices) for devices in ("1", "2"))
    (workplace / "commands.json").write_text(json.dumps(two))
    worker = Path(__file__).with_name("command_worker.py")
    (together,) = finish(start((sys.executable, worker, "commands.json"), workplace))
    monkeypatch.chdir(workplace)
    for words in one:
        monkeypatch.setattr("sys.argv", ["lightning-tl", *words])
        assert main() == 0
    alone = capsys.readouterr().out
    for stage in ("val", "test"):
        for name in ("loss", "accuracy", "f1"):
            assert printed(together, f"{stage}_{name}") == pytest.approx(printed(alone, f"{stage}_{name}"), rel=1e-6)
    ours, theirs = (read_rows(workplace / f"by {devices}" / "predictions.csv") for devices in "21")
    assert [row["path"] for row in ours] == sorted(str(path) for path in images(workplace))
    assert [row["predicted"] for row in ours] == [row["predicted"] for row in theirs]
    results = read_results(workplace / "one")["test"]
    assert printed(together, "test_accuracy") == pytest.approx(results["accuracy"], rel=1e-6)
    assert printed(together, "test_loss") == pytest.approx(results["loss"], rel=1e-5)


def evaluations(devices: str) -> list[list[str]]:
    """The three commands on the checkpoint of one process, as many images a device at a time."""
    shared = ["--ckpt_path", "one/checkpoints/best.ckpt", "--trainer.accelerator", "cpu", "--data.num_workers", "0"]
    options = [*shared, *HALF, "--trainer.devices", devices, "--trainer.default_root_dir", f"by {devices}"]
    return [[name, *options] for name in ("validate", "test", "predict")]


def printed(output: str, metric: str) -> float:
    """A metric in the table that Lightning prints, by the first rank alone."""
    (line,) = [line for line in output.splitlines() if metric in line]
    return float(line.replace("│", " ").split()[-1])


@pytest.mark.slow  # each process imports everything anew
def test_spawned_processes(workplace: Path) -> None:
    options = ("--trainer.strategy", "ddp_spawn", "--trainer.devices", "2")
    finish(start((*COMMAND, *FIT, "spawn", *HALF, *options), workplace))
    check_same_run(workplace / "spawn", workplace / "one")


@pytest.mark.slow
def test_spawned_processes_without_checkpoints(workplace: Path) -> None:
    """The last weights come home; the course of the phases has stayed in the processes that are gone."""
    options = ("--trainer.strategy", "ddp_spawn", "--trainer.devices", "1", "--trainer.enable_checkpointing", "false")
    (output,) = finish(start((*COMMAND, *FIT, "forgetful", *options), workplace))
    assert "accuracy of the last weights on the test split: " in output
    results = json.loads((workplace / "forgetful" / "results.json").read_text())
    assert (results["phases"], results["test"]["split"]) == ([], "test")


def test_two_torchrun_agents(workplace: Path) -> None:
    """As on two machines: each agent knows its own processes alone and meets the other at an address."""
    meet = f"127.0.0.1:{free_port()}"
    agent = (sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1")
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", meet, "--rdzv-id", "test", "--local-addr", "127.0.0.1")
    options = ("--trainer.strategy", "ddp", "--trainer.devices", "1", "--trainer.num_nodes", "2")
    command = (*agent, *rendezvous, "-m", "lightning_tl", *FIT, "torchrun", *HALF, *options)
    outputs = finish(*(start(command, workplace) for _ in range(2)))
    assert sum(output.count("run folder: torchrun") for output in outputs) == 1
    check_same_run(workplace / "torchrun", workplace / "one")


def test_slurm_with_its_overlay(workplace: Path) -> None:
    """As ``srun`` starts two tasks on two nodes, with configs/overlay/slurm.yaml."""
    overlay = Path(__file__).parents[2] / "configs" / "overlay" / "slurm.yaml"
    fit = (*COMMAND, *FIT[:-1], "--config", overlay, "--trainer.default_root_dir", "slurm")
    whole = ("--data.batch_size", "8", "--data.batch_size_is", "global")
    options = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.num_nodes", "2")
    tasks = [
        start(
            (*fit, *options, *whole),
            workplace,
            variables,
        )
        for variables in slurm_tasks()
    ]
    finish(*tasks)
    check_same_run(workplace / "slurm", workplace / "one")


@pytest.mark.parametrize(
    "strategy",
    [
        "fsdp",
        "deepspeed_stage_2",
        "lightning.pytorch.strategies.DeepSpeedStrategy",
        '{"class_path": "lightning.pytorch.strategies.ModelParallelStrategy", "init_args": {"data_parallel_size": 1}}',
    ],
)
def test_strategies_that_divide_the_model_are_refused_in_one_sentence(
    workplace: Path, strategy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not their packages are installed and there are GPUs: in this process, since nothing is started."""
    monkeypatch.chdir(workplace)
    arguments = ["lightning-tl", *FIT, "refused", "--trainer.strategy", strategy, "--trainer.devices", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("lightning-tl: error: trainer.strategy: ")
    assert "divides the model over the devices" in error
    assert not (workplace / "refused").exists()


@pytest.mark.parametrize("kind", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_such_a_strategy_in_a_trainer_is_refused_too(kind: type[Strategy]) -> None:
    """Not in a Trainer, which wants GPUs for the first two, and not initialised, which takes DeepSpeed's package."""
    with pytest.raises(InputError, match=f"trainer.strategy: {kind.__name__} divides the model over the devices"):
        check_strategy(kind.__new__(kind))
    check_strategy(DDPStrategy())


def test_layers_that_would_stand_in_for_batchnorm_are_refused() -> None:
    """Folded convolutions do its work already."""
    trainer = lightning.Trainer(accelerator="cpu", devices=1, strategy="ddp", sync_batchnorm=True, logger=False)
    with pytest.raises(InputError, match=r"trainer.sync_batchnorm: BatchNorm is in inference mode.*Leave it out"):
        check_strategy(trainer.strategy)
