"""What the benchmark says of a GPU, and that it refuses to look for one where there is none."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from benchmarked import ROOT, command

from benchmarks.device import CPU, Device, torch_device
from benchmarks.frameworks import select
from benchmarks.gpu import NoGpuError, describe, describe_gpus
from benchmarks.machine import computes_on, describe_machine, has_bfloat16
from benchmarks.meter import Meter, Request
from benchmarks.report import to_markdown
from benchmarks.rounds import Sample
from benchmarks.rows import make_rows
from benchmarks.scaling import on_cores, on_gpus
from benchmarks.settings import Settings
from benchmarks.targets import all_targets
from benchmarks.worker import pin

H100 = "NVIDIA H100 80GB HBM3, 81559, 580.159.04, 9.0, GPU-8f2a91c4"
ON_JAX = """
import jax
from benchmarks.device import jax_device
product = jax.numpy.ones((2000, 2000)) @ jax.numpy.ones((2000, 2000))
jax_device("cpu").wait()
print(product.is_ready(), jax_device("cpu").peak_mb())
"""
T4 = "Tesla T4, 15360, 550.54.15, 7.5, GPU-11aa"


def test_a_gpu_is_described_as_its_driver_does() -> None:
    found = {"name": "NVIDIA H100 80GB HBM3", "memory_mb": 81559, "driver": "580.159.04", "compute_capability": 9.0}
    assert describe([H100, T4], None) == {**found, "count": 2}
    assert describe([T4, H100], "1") == {**found, "count": 1}
    assert describe([H100, T4], "0,7,1") == {**found, "count": 1}  # as CUDA reads it
    assert describe([T4, H100], "GPU-8f2a,GPU-11") == {**found, "count": 2}
    assert describe([H100.replace("81559", "[N/A]")], None) == {**found, "memory_mb": None, "count": 1}


@pytest.mark.parametrize(
    ("listed", "visible"), [([], None), ([H100], ""), ([H100], "-1"), ([H100], "MIG-1"), ([H100], "1")]
)
def test_no_gpu_is_one_clear_error(listed: list[str], visible: str | None) -> None:
    with pytest.raises(NoGpuError, match=r"--accelerator gpu: none of \d GPUs can be seen. Received: CUDA_VISIBLE"):
        describe(listed, visible)


def test_without_a_driver_the_command_ends_before_it_measures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoGpuError, match="no NVIDIA GPU was found here"):
        describe_gpus()
    assert command().main(["--quick", "--accelerator", "gpu"]) == 2
    assert capsys.readouterr().err.startswith("benchmark: error: --accelerator gpu: no NVIDIA GPU was found here")


def test_a_cpu_is_not_asked_for_its_gpu() -> None:
    machine = describe_machine(2)
    assert "gpu" not in machine
    assert computes_on(machine) == f"{machine['cpu']}, 2 threads"


@pytest.mark.parametrize(("line", "bfloat16"), [(H100, True), (T4, False)])
def test_mixed_counts_where_the_gpu_has_bfloat16(line: str, bfloat16: bool) -> None:
    machine = {**describe_machine(2), "gpu": describe([line], None)}
    assert has_bfloat16(machine) == bfloat16
    assert computes_on(machine) == line.split(",")[0]


def test_a_gpu_has_targets_of_its_own() -> None:
    ours, keras = select(["lightning-tl float32", "keras-torch float32"])
    samples = {ours.key: [_sample(35.0)], keras.key: [_sample(10.0)]}
    rows = make_rows("head", "resident", samples, [ours, keras], {"ceiling float32": [_sample(46.0)]})
    assert rows[0]["peak_gpu_memory_mb"] == 700
    found = {
        gpu: {target.what: target.verdict for target in all_targets({"rows": rows, "machine": machine}, True)}
        for gpu, machine in ((True, {"gpu": {}}), (False, {}))
    }
    place = "float32, head, resident: "
    assert found[True][place + "times Keras on torch"] == "missed"  # 3.5 of 4
    assert found[True][place + "times Keras on jax"] == "not measured"
    assert found[False][place + "times the fastest Keras"] == "met"  # 3.5 of 2.2
    ceiling = place + "fraction of the ceiling"
    assert (found[True][ceiling], found[False][ceiling]) == ("met", "missed")  # 0.76: of 0.7, of 0.85


def test_on_a_gpu_each_keras_of_the_same_precision_counts_by_itself() -> None:
    found = select(["lightning-tl mixed", "keras-torch", "keras-jax mixed"])
    speeds = {
        "lightning-tl mixed": (50, 60, 70),
        "keras-torch mixed": (10, 10, 10),
        "keras-torch float32": (40, 40, 40),
    }
    samples = {f.key: [_sample(float(speed)) for speed in speeds.get(f.key, (30, 20, 20))] for f in found}
    content = {"rows": make_rows("finetune", "resident", samples, found, {}), "machine": {"gpu": {}}}
    values = {target.what: target.found for target in all_targets(content, True)}
    assert values["mixed, finetune, resident: times Keras on torch"] == 6.0
    assert values["mixed, finetune, resident: times Keras on jax"] == 3.0  # the median of ratios, not of speeds
    assert values["float32, finetune, resident: times Keras on torch"] is None


def test_the_page_names_the_gpu_and_its_memory() -> None:
    ours, keras = select(["lightning-tl float32", "keras-torch float32"])
    rows = make_rows("head", "resident", {ours.key: [_sample(35.0)], keras.key: [_sample(10.0)]}, [ours, keras], {})
    page = to_markdown(_content(rows, {**describe_machine(2), "gpu": describe([H100, H100], None)}))
    assert "On one NVIDIA H100 80GB HBM3 (81559 MB, driver 580.159.04; 2 in the machine)" in page
    assert "| of the GPU, MiB |" in page
    assert "| 700 |" in page
    assert "stated for 2 cores" not in page
    assert "GPU" not in to_markdown(
        _content([{**row, "rounds": []} for row in _without_gpu(rows)], describe_machine(2))
    )


def test_processes_scale_over_gpus_and_over_cores() -> None:
    assert on_gpus(16, 8) == [(1, 16), (2, 8), (4, 4), (8, 2)]
    assert on_gpus(2, 3) == [(1, 2), (2, 1), (3, 1)]
    assert on_gpus(16, 1) == [(1, 16)]
    assert on_cores(Settings(threads=2)) == [(1, 2), (1, 1), (2, 1)]
    assert on_cores(Settings(threads=1)) == [(1, 1), (2, 1)]


def test_an_accelerator_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--accelerator: one of cpu, gpu is needed. Received: tpu."):
        Settings(accelerator="tpu")


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_worker_sees_gpus_where_they_compute_alone(
    accelerator: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = {"CUDA_VISIBLE_DEVICES": "3"}
    monkeypatch.setattr("os.environ", environment)
    pin(
        {"threads": 2, "cores": (), "environment": {}, "precision": precision, "settings": {"accelerator": accelerator}}
    )
    assert environment["CUDA_VISIBLE_DEVICES"] == ("3" if accelerator == "gpu" else "-1")
    assert environment["JAX_PLATFORMS"].split(",")[0] == ("cuda" if accelerator == "gpu" else "cpu")
    assert ("NVIDIA_TF32_OVERRIDE" in environment) == ((accelerator, precision) == ("gpu", "float32"))


def test_the_meter_waits_for_the_device_where_a_measurement_begins_and_ends() -> None:
    noted: list[Any] = []
    answers: list[Request] = []
    device = Device(wait=lambda: noted.append("wait"), peak_mb=lambda: 5.0)
    meter = Meter({"skip": 2, "steps": 3}, answers.append, device=device)
    for step in range(1, 6):
        noted.append(step)
        meter.step(4, 1.0)
    assert noted == [1, 2, "wait", 3, 4, 5, "wait"]
    assert answers[0]["peak_gpu_memory_mb"] == 5.0


def test_torch_on_a_cpu_has_nothing_to_wait_for() -> None:
    assert torch_device("cpu") is CPU
    assert CPU.peak_mb() is None


def test_torch_without_a_gpu_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="sees no GPU here"):
        torch_device("gpu")


def test_jax_on_a_cpu_is_waited_for() -> None:
    """It returns before it has computed. In a process of its own: once imported, JAX warns of every fork."""
    if find_spec("jax") is None:
        pytest.skip("jax is not installed")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "None"]


def _sample(speed: float) -> Sample:
    return Sample(speed, (), 100.0, gpu_memory=700.0)


def _without_gpu(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "peak_gpu_memory_mb"} for row in rows]


def _content(rows: list[dict[str, Any]], machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": machine,
        "versions": {},
        "settings": Settings().to_dict(),
        "weights": {"images": "drawn", "weights": "random"},
        "rows": rows,
        "validation": [],
        "agreement": [],
        "refused": [],
        "left_out": [],
        "load": {"idle_frameworks": [0.0, 0.0], "other_programs": [0.0, 0.0]},
    }
