"""Features that are kept are those that would be computed, and are forgotten when they no longer are."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from training import AUGMENT, PHASES, Losses, draw_images, make_data, make_model, make_trainer

from lightning_tl import InputError, TransferClassifier, frozen_graph
from lightning_tl.feature_cache import FeatureCache


def fitted(images: Path, folder: Path, **options: Any) -> tuple[TransferClassifier, list[float], list[int], Any]:
    """A model, its losses, the sizes of the batches that its backbone was given, and its trainer."""
    lightning.seed_everything(0, verbose=False)
    data, losses = make_data(images), Losses()
    model = make_model(data, augment=(), **options)
    batches: list[int] = []
    model.backbone.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    trainer = make_trainer(folder, PHASES, callbacks=[losses], num_sanity_val_steps=0)
    trainer.fit(model, data)
    return model, losses.values, batches, trainer


def test_the_same_run_with_fewer_passes_through_the_backbone(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images")
    plain, losses, every, _ = fitted(images, tmp_path / "plain")
    cached, kept, few, trainer = fitted(images, tmp_path / "cached", cache_features=True)
    torch.testing.assert_close(kept, losses, rtol=1e-5, atol=1e-6)
    for name, value in cached.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-5, atol=1e-6)
    data, epochs = make_data(images), [phase["epochs"] for phase in PHASES]
    count = len(data.samples)
    assert epochs[0] > 1
    assert sum(every) == sum(epochs) * count
    assert sum(few) == count + epochs[1] * count  # an image once in head, and in every epoch of finetune
    few.clear()
    trainer.validate(cached, data, verbose=False)  # perhaps of other images
    assert sum(few) == sum(sample.split == "val" for sample in data.samples)


def test_each_stage_has_images_of_its_own_numbers() -> None:
    """Loaders of one's own count from 0 in both."""
    model = TransferClassifier(["a", "b"], "timm/mobilenetv2_035", "none", 32, cache_features=True)
    model.trainer = make_trainer(Path())
    model.trainer.state.fn = TrainerFn.FITTING
    index, generator = torch.arange(4), torch.Generator().manual_seed(0)
    train, val = (torch.rand(4, 3, 32, 32, generator=generator) * 255 for _ in range(2))
    with torch.no_grad():
        for _ in range(2):
            for stage, images in (("val", val), ("train", train)):
                found = model.features_of(stage, {"image": images, "index": index})
                torch.testing.assert_close(found, model.backbone(images))


def test_kept_features_are_computed_without_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose last bits depend on the size of the batch, and so on where a run that is resumed began again."""
    made: list[int] = []
    make = frozen_graph._proven_graph
    monkeypatch.setattr(frozen_graph, "WORTH", 1)

    def noted(chain: Any, x: Tensor, run: Any) -> Any:
        made.append(len(chain))
        return make(chain, x, run)

    monkeypatch.setattr(frozen_graph, "_proven_graph", noted)
    images = draw_images(tmp_path / "images")
    fitted(images, tmp_path / "plain")
    assert len(set(made)) == 2  # in head the whole network is frozen, in finetune it is shorter
    whole = made[0]
    made.clear()
    fitted(images, tmp_path / "cached", cache_features=True)
    assert made
    assert whole not in made


def test_a_second_fit_begins_with_no_features(tmp_path: Path) -> None:
    """Its images, or the weights, may be others."""
    images = draw_images(tmp_path / "images")
    model, _, batches, _ = fitted(images, tmp_path, cache_features=True)
    batches.clear()
    make_trainer(tmp_path, PHASES[:1], num_sanity_val_steps=0).fit(model, data := make_data(images))
    assert sum(batches) == len(data.samples)


def test_augmented_images_have_no_features_to_keep(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images"))
    with pytest.raises(InputError, match=r"^cache_features: .* augment must be empty. Received: \d transforms"):
        make_model(data, augment=AUGMENT, cache_features=True)


class Backbone:
    """Features (index, 2 * index, 3 * index) of images that are their index."""

    def __init__(self, images: list[int], dtype: torch.dtype = torch.float32) -> None:
        self.images, self.dtype = torch.tensor(images), dtype
        self.computed: list[int] = []

    def __call__(self, mask: Tensor) -> Tensor:
        chosen = self.images[mask]
        self.computed += chosen.tolist()
        return torch.stack([chosen, chosen * 2, chosen * 3], dim=1).to(self.dtype)


def features(cache: FeatureCache, images: list[int], dtype: torch.dtype = torch.float32) -> list[int]:
    """Ask for these; the images that were computed."""
    backbone, index = Backbone(images, dtype), torch.tensor(images)
    assert torch.equal(cache.features(index, backbone), torch.stack([index, index * 2, index * 3], dim=1).to(dtype))
    return backbone.computed


def test_what_is_known_is_not_computed() -> None:
    cache = FeatureCache()
    assert features(cache, [4, 0]) == [4, 0]
    assert features(cache, [9]) == [9]
    assert features(cache, [9, 0, 4]) == []
    assert features(cache, [3, 4, 20, 9]) == [3, 20]
    assert features(cache, [20, 3]) == []
    cache.clear()
    assert features(cache, [4]) == [4]


def test_weights_that_are_others_have_other_features() -> None:
    weights = [1]
    cache = FeatureCache(weights.copy)
    assert features(cache, [4, 0]) == [4, 0]
    assert features(cache, [4, 0]) == []
    weights.append(2)
    assert features(cache, [0]) == [0]
    assert features(cache, [4, 0]) == [4]


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("fold", [True, False])
def test_what_writes_to_the_backbone_in_a_phase_is_noticed(tmp_path: Path, counted: bool, fold: bool) -> None:
    """Past torch it must say so, as without the cache."""
    images = draw_images(tmp_path / "images")
    losses = []
    for kept in (False, True):
        lightning.seed_everything(0, verbose=False)
        data, noted = make_data(images), Losses()
        model = make_model(data, augment=(), cache_features=kept, fold_batchnorm=fold)
        writing = Callback()

        def write(trainer: lightning.Trainer, module: Any) -> None:
            weight = module.backbone.net.conv_stem.weight
            if trainer.current_epoch == 1 and counted:
                with torch.no_grad():
                    weight.mul_(2)
            elif trainer.current_epoch == 1:
                weight.data.mul_(2)
                module.backbone.forget()

        writing.on_train_epoch_start = write  # type: ignore[method-assign, assignment]
        make_trainer(tmp_path, PHASES[:1], callbacks=[noted, writing]).fit(model, data)
        losses.append(noted.values)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)


def test_a_few_images_of_many_take_the_room_of_a_few() -> None:
    """A stage has the numbers of its own images alone."""
    cache = FeatureCache()
    for number in range(1000, 1100, 4):
        assert features(cache, [number, number + 1]) == [number, number + 1]
    assert 50 <= len(cache._rows) <= 100
    assert features(cache, list(range(1000, 1100, 4))) == []


def test_padding_is_computed_every_time() -> None:
    cache = FeatureCache()
    assert features(cache, [-1]) == [-1]
    assert features(cache, [2, -1]) == [2, -1]
    assert features(cache, [-1, 2]) == [-1]


def test_features_of_validation_can_be_trained_on() -> None:
    cache = FeatureCache()
    with torch.inference_mode():
        features(cache, [0, 1])
    backbone = Backbone([1, 0])
    known = cache.features(backbone.images, backbone)
    assert backbone.computed == []
    head = torch.nn.Linear(3, 2)
    head(known).sum().backward()
    assert torch.equal(head.weight.grad, torch.tensor([[1.0, 2.0, 3.0]] * 2))  # type: ignore[arg-type]


def test_before_the_first_features_none_are_known_on_any_device() -> None:
    """The cache does not know yet where they will be."""
    assert FeatureCache()._unknown(torch.empty(3, dtype=torch.int64, device="meta")).device.type == "meta"
