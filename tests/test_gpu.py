"""A run on a GPU is that of the CPU; asked of the CPU itself too, so that the questions are right."""

import copy
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from graphed import BATCH, graphs, images, lived_in
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader
from training import PHASES, SMALL, Losses, draw_images, make_data, make_model, make_trainer

from lightning_tl import cuda_graph, draws, step_graph
from lightning_tl.augment import (
    AugmentationPipeline,
    ColorJitter,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from lightning_tl.head import Dropout
from lightning_tl.saving import RunCheckpointIO

RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "images on the device": {"data": {"cache": "device"}},
    "features kept": {"model": {"augment": [], "cache_features": True}},
}
needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
everywhere = pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=needs_gpu)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kept_images_are_gathered_where_the_gpu_reads_them(tmp_path: Path) -> None:
    loader = make_data(draw_images(tmp_path / "images"), cache="ram").val_dataloader()
    taken = loader.dataset.__getitems__(range(3))._batch["image"]  # type: ignore[attr-defined]
    assert taken.is_pinned()
    (batch,) = DataLoader(loader.dataset, batch_size=3, num_workers=1, sampler=range(3))
    assert torch.equal(batch["image"], taken)


class NoWaiting(Callback):
    """Whatever waits for the GPU between the start of a training step and the optimizer's end is an error."""

    def on_train_batch_start(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")

    def on_exception(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def fitted(
    folder: Path, accelerator: str, callback: Callback, data: Any = None, model: Any = None
) -> lightning.Trainer:
    """The trainer of a run through both phases; random weights are drawn on the CPU."""
    lightning.seed_everything(0, verbose=False)
    images = make_data(folder / "images", **(data or {}))
    plugins = [RunCheckpointIO()]
    trainer = make_trainer(folder, accelerator=accelerator, devices=1, callbacks=[callback], plugins=plugins)
    trainer.fit(make_model(images, **(model or {})), images)
    return trainer


@everywhere
@pytest.mark.parametrize("run", RUNS)
def test_a_run_is_that_of_the_cpu(accelerator: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 as it is on a CPU: torch lets convolutions on a GPU round to TF32's ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    draw_images(tmp_path / "images")
    here, there = Losses(), Losses()
    fitted(tmp_path, "cpu", here, **{"data": {"cache": "ram"}, **RUNS[run]})
    fitted(tmp_path, accelerator, there, **RUNS[run])
    assert len(there.values) == 2 * sum(phase["epochs"] for phase in PHASES)
    assert there.values == pytest.approx(here.values, rel=1e-3 if accelerator == "gpu" else 1e-6)


@everywhere
def test_what_it_has_saved_goes_on_on_a_cpu(accelerator: str, tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    path = tmp_path / "last.ckpt"
    fitted(tmp_path, accelerator, Losses()).save_checkpoint(path)
    data = make_data(tmp_path / "images")
    longer = [PHASES[0], {**PHASES[1], "epochs": PHASES[1]["epochs"] + 1}]
    losses = Losses()
    trainer = make_trainer(tmp_path, longer, callbacks=[losses], plugins=[RunCheckpointIO()])
    trainer.fit(make_model(data), data, ckpt_path=str(path), weights_only=True)
    assert len(losses.values) == 2
    assert trainer.current_epoch == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_training_step_waits_for_nothing(tmp_path: Path) -> None:
    """So that the next one is prepared meanwhile."""
    draw_images(tmp_path / "images")
    fitted(tmp_path, "gpu", NoWaiting(), data={"cache": "device"}, model={"backbone": SMALL})


class Steps(Callback):
    """Losses of all steps, and how many graphs of steps were in use with each."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.graphs: list[int] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].detach().clone())
        made = pl_module._step_graph._recorder._graphs
        self.graphs.append(sum(graph is not None for graph in made.values()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/resnet18", "timm/vit_tiny_patch16_224"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_steps_by_a_graph_are_the_plain_ones(
    precision: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses, metrics and weights of a run through both phases, whose last batches are smaller."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    files = draw_images(tmp_path / "images")
    size = 224 if "224" in name else 64
    found = []
    for recorded in (True, False):
        with monkeypatch.context() as patch:
            if not recorded:
                patch.setattr(step_graph, "offered", lambda images: False)
            lightning.seed_everything(0, verbose=False)
            data, steps = make_data(files, image_size=size, batch_size=5), Steps()
            model = make_model(data, backbone=name, image_size=size, class_weights={"red": 2.0}, label_smoothing=0.1)
            phases = [{**phase, "lr": phase["lr"] / 10} for phase in PHASES]
            trainer = make_trainer(
                tmp_path, phases, accelerator="gpu", devices=1, callbacks=[steps], precision=precision,
                accumulate_grad_batches=2,
            )  # fmt: skip
            trainer.fit(model, data)
            found.append((torch.stack(steps.losses), dict(trainer.callback_metrics), model.cpu().state_dict()))
            wanted = recorded and precision != "16-mixed"
            assert (max(steps.graphs) > 0) == wanted, (recorded, steps.graphs)
            assert not model._step_graph._recorder._graphs  # a run that is over needs none
    (losses, metrics, weights), (plain_losses, plain_metrics, plain_weights) = found
    # Where bfloat16 adds up in another order, Adam's first steps carry it on.
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if precision == "32-true" else {"rtol": 1e-2, "atol": 1e-3}
    torch.testing.assert_close(losses, plain_losses, **tolerance)
    torch.testing.assert_close(metrics, plain_metrics, **tolerance)
    torch.testing.assert_close(weights, plain_weights, **tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_hooks_on_gradients_are_called(tmp_path: Path) -> None:
    """Those on what has been added up are with a graph too; one that changes a gradient has the step run as it is."""
    torch.manual_seed(0)
    made = make_model(make_data(draw_images(tmp_path / "images")))
    made.log = lambda *_, **__: None  # type: ignore[method-assign]

    def gradient(model: Any, number: int, graph: bool | None) -> Tensor:
        index = torch.arange(8).cuda() + 8 * number
        batch = {"image": images(size=(32, 32)).cuda(), "label": torch.arange(8).cuda() % 3, "index": index}
        loss = model.training_step(batch, number)
        assert graph is None or ("_Known" in str(loss.grad_fn)) == graph
        model.zero_grad()
        (loss / 2).backward()
        return model.head.weight.grad.clone()  # type: ignore[no-any-return]

    for before in (True, False):
        model, seen = copy.deepcopy(made).cuda().train(), []
        model.backbone.unfreeze_last(5)
        if before:
            model.head.weight.register_post_accumulate_grad_hook(lambda _, seen=seen: seen.append(0))
        for number in range(3):  # with hooks that were there before, some versions of torch let no step be recorded
            gradient(model, number, graph=None if before else number > 0)
        if not before:
            model.head.weight.register_post_accumulate_grad_hook(lambda _, seen=seen: seen.append(0))
        plain = gradient(model, 3, graph=None if before else True)
        model.head.weight.register_hook(lambda gradient: 3 * gradient)
        torch.testing.assert_close(gradient(model, 3, graph=False), 3 * plain)
        assert len(seen) == (5 if before else 2)


PIPELINES = {
    "recipe": [RandomFlip("horizontal"), RandomRotation(0.1), RandomZoom(0.1)],
    "colours": [RandomContrast(0.2), ColorJitter(brightness_factor=0.1, saturation_factor=0.4, hue_factor=0.1)],
    "borders": [RandomTranslation(0.2, 0.2, fill_mode="constant", fill_value=7.0), RandomRotation(0.3, "wrap")],
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_augmentation_by_a_graph_is_the_plain_one(pipeline: str, fused: bool) -> None:
    """In every epoch, for every image, and with arguments that were changed since."""
    augment = AugmentationPipeline(copy.deepcopy(PIPELINES[pipeline]), fused)
    pixels = images().cuda()

    def agree(first: int, epoch: int) -> Tensor:
        index = torch.arange(first, first + BATCH).cuda()
        plain = augment.apply(pixels, augment.draw(index, 5, epoch))
        for _ in range(2):  # the second time by a graph
            assert torch.equal(augment(pixels, index, 5, epoch), plain)
        return plain

    for epoch, first in ((0, 0), (0, 100), (3, 0)):
        before = agree(first, epoch)
    made = augment._recorder._graphs
    assert len(made) == 1
    assert None not in made.values()
    if pipeline == "recipe":
        augment.transforms[1].factor = 0.3
        assert not torch.equal(agree(first, epoch), before)
        assert len(made) == 2
    augment.cpu()
    assert not augment._recorder._graphs


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_dropout_drawn_by_a_graph_is_the_plain_one() -> None:
    dropout = Dropout(0.2)
    for epoch, first in ((0, 0), (0, 100), (3, 0)):
        index = torch.arange(first, first + BATCH).cuda()
        plain = draws.uniforms(draws.stream_key(5, draws.DROPOUT, epoch), index, 20)
        for _ in range(2):  # the second time by a graph
            assert torch.equal(dropout.draw(index, 20, 5, epoch), plain)
    assert len(dropout._recorder._graphs) == 1
    assert None not in dropout._recorder._graphs.values()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_waits_for_the_device_is_not_recorded_and_does_no_harm() -> None:
    pixels = torch.ones(4).cuda()
    with pytest.raises(RuntimeError):
        cuda_graph.capture(lambda x: x * x.sum().item(), [pixels])
    torch.cuda.empty_cache()
    assert cuda_graph.capture(lambda x: 2 * x, [pixels])(3 * pixels).tolist() == [6.0] * 4


class Darker(RandomFlip):
    """Keeps count in Python of what it has seen, which no graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def apply(self, images: Tensor, params: dict[str, Tensor]) -> Tensor:
        self.seen += 1
        return super().apply(images, params) / self.seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_transforms_of_others_are_called_for_every_batch() -> None:
    augment, index = AugmentationPipeline([Darker()]), torch.arange(BATCH).cuda()
    brightness = [float(augment(images().cuda(), index, 0, 0).mean()) for _ in range(3)]
    assert brightness == pytest.approx([brightness[0], brightness[0] / 2, brightness[0] / 3])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.usefixtures("small_batches_have_graphs")
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/resnet18", "timm/vit_tiny_patch16_224"])
def test_frozen_layers_by_a_graph_are_the_plain_ones(name: str, mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other images, with weights that were written to since, and where the last layers train."""
    backbone, pixels = lived_in(name, "torch").cuda(), images().cuda()
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    # TF32 rounds folded kernels, in inference mode, otherwise than those that train.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    def agree(pixels: Tensor) -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=mixed):
            plain = backbone(pixels)
            assert graphs(backbone) == 0
            recorded = backbone(pixels)
            assert graphs(backbone) == 1
            backbone(pixels.flip(0))
            again = backbone(pixels)
            with torch.inference_mode():
                inferred = backbone(pixels)
        tolerance = (0.02 if mixed else 1e-5) * float(plain.detach().abs().max())
        torch.testing.assert_close(inferred, plain.detach(), rtol=0, atol=tolerance)
        trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        if trained:
            wanted, got = (torch.autograd.grad(value.float().square().sum(), trained) for value in (plain, recorded))
            for mine, theirs in zip(got, wanted, strict=True):
                # bfloat16 has eight bits, and kernels that add in another order change the last of them in every layer
                assert (mine - theirs).norm() <= (0.05 if mixed else 1e-3) * theirs.norm()
        torch.testing.assert_close(recorded, plain, rtol=0, atol=tolerance)
        torch.testing.assert_close(again, plain, rtol=0, atol=tolerance)
        backbone.forget()

    agree(pixels)
    agree(pixels.flip(3))
    with torch.no_grad():
        next(backbone.net.parameters()).mul_(1.5)
    agree(pixels)
    backbone.unfreeze_last(5)
    agree(pixels)
