"""Whoever asks for bfloat16 of a processor that has none is told so."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from training import PHASES, draw_images, make_data, make_model, make_trainer

from lightning_tl.precision import computes_in_bfloat16, warn_if_emulated


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
        ({"architecture": "riscv64"}, None),
    ],
)
def test_a_processor_tells_what_it_has(capabilities: dict[str, Any], expected: bool | None) -> None:
    assert computes_in_bfloat16(capabilities) is expected


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="Linux alone tells its processor's units in a file")
def test_this_processor_has_what_the_system_says() -> None:
    words = Path("/proc/cpuinfo").read_text().split()
    assert bool(computes_in_bfloat16(torch.cpu.get_capabilities())) == any(
        w in words for w in ("avx512_bf16", "amx_bf16", "bf16")
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("has", [True, False])
def test_the_warning_says_what_was_asked_for_and_what_to_ask_for(
    precision: Any, has: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has})
    warn_if_emulated(
        lightning.Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    )
    said = [str(warning.message) for warning in recwarn if "bfloat16" in str(warning.message)]
    assert len(said) == (precision != "32-true" and not has)
    for message in said:
        assert message.startswith(f"trainer.precision: {precision} is slower than float32 here")
        assert message.endswith("Use 32-true.")


def test_a_gpu_is_not_asked_about_its_cpu(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    trainer: Any = SimpleNamespace(precision="bf16-mixed", strategy=SimpleNamespace(root_device=torch.device("cuda")))
    warn_if_emulated(trainer)
    assert not recwarn.list


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_a_run_says_it_before_it_begins(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    data = make_data(draw_images(tmp_path / "images", count=4))
    trainer = make_trainer(tmp_path, PHASES[:1], precision="bf16-mixed", fast_dev_run=1)
    with pytest.warns(UserWarning, match=r"precision: bf16-mixed is slower than float32 here"):
        getattr(trainer, stage)(make_model(data), datamodule=data)
