"""Freed memory is found again by the next step."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from training import draw_images, make_data, make_model, make_trainer

from lightning_tl import classifier, memory

STEPS = """
import resource
import numpy as np
from lightning_tl.memory import keep_freed_memory

def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        maps = [np.ones(48 * 2**20, np.uint8) for _ in range(2)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first, done, _, later = faults(4), keep_freed_memory(), faults(2), faults(4)
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
print(first, int(done), later, peak)
"""
PAGES = 4 * 2 * 48 * 2**20 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_the_system_need_not_zero_the_same_pages_at_every_step() -> None:
    output = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, text=True).stdout
    first, done, later, peak = map(int, output.split())
    assert done == 1
    assert later < 0.01 * PAGES
    assert later < first
    assert peak < 400 * 2**10, "KiB; what is kept is used again"


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert memory.keep_freed_memory.__wrapped__() is False


@pytest.mark.parametrize("keep", [True, False])
def test_a_module_asks_for_it_unless_told_otherwise(
    keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(classifier, "keep_freed_memory", lambda: asked.append(True))
    data = make_data(draw_images(tmp_path / "images", count=5))
    model = make_model(data, keep_memory=keep)
    make_trainer(tmp_path, fast_dev_run=True).fit(model, data)
    assert asked == [True] * keep
    assert model.hparams["keep_memory"] == keep


NUMBERS = """
import torch
from lightning_tl import TransferClassifier
from lightning_tl.memory import keep_freed_memory

torch.set_num_threads(1)
torch.manual_seed(0)
model = TransferClassifier(["a", "b"], weights="none", image_size=96)
images = (torch.arange(8 * 3 * 96 * 96) * 7919 % 256).view(8, 3, 96, 96).to(torch.uint8)

def numbers():
    model.zero_grad()
    logits = model(images)
    logits.square().sum().backward()
    return [*logits.flatten().tolist(), *model.head.weight.grad.flatten().tolist()]

model.dropout.eval()
first = numbers()
assert keep_freed_memory()
assert any(first)
assert numbers() == first == numbers()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_the_numbers_do_not_change() -> None:
    """Of a step whose feature maps glibc would have mapped one by one, in a process that has not begun to keep any."""
    subprocess.run([sys.executable, "-c", NUMBERS], check=True)


FORKED = """
import os, signal
from pathlib import Path
import numpy as np
from lightning_tl.memory import give_back_freed_memory, keep_freed_memory

def child(begin):
    ready, told = os.pipe()
    number = os.fork()
    if number == 0:
        begin()
        os.write(told, b"1")
        signal.pause()
    os.read(ready, 1)
    return number

def held(process):
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

assert keep_freed_memory()
np.ones(192 * 2**20, np.uint8)
children = child(lambda: None), child(give_back_freed_memory)
again = np.full(192 * 2**20, 2, np.uint8)
print(*map(held, children))
for number in children:
    os.kill(number, signal.SIGKILL)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/smaps_rollup").exists(), reason="glibc's malloc on Linux"
)
def test_a_forked_process_does_not_hold_what_its_parent_had_freed() -> None:
    output = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True).stdout
    holding, given_back = map(int, output.split())
    assert holding - given_back > 150 * 2**10, "KiB of 192 MiB"
