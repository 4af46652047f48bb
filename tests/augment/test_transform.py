"""Every augmentation as a torchvision transform and as an entry in a config."""

import copy
import json
import pickle
from typing import Any

import pytest
import torch
from pictures import noise
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tl import augment
from lightning_tl.augment import (
    TRANSFORMS,
    Augmentation,
    AugmentationPipeline,
    Geometric,
    RandomFlip,
    RandomRotation,
    from_config,
)
from lightning_tl.augment.base import Params, affine
from lightning_tl.errors import InputError

EXAMPLES: list[dict[str, Any]] = [
    {"class_path": "RandomFlip", "init_args": {"mode": "vertical"}},
    {
        "class_path": "RandomRotation",
        "init_args": {"factor": [-0.1, 0.2], "fill_mode": "constant", "fill_value": 9},
    },
    {"class_path": "RandomZoom", "init_args": {"height_factor": 0.1}},
    {"class_path": "RandomTranslation", "init_args": {"height_factor": 0.1, "width_factor": [0, 0.5]}},
    {"class_path": "RandomContrast", "init_args": {"factor": [0.4, 0.4]}},
    {"class_path": "RandomBrightness", "init_args": {"factor": 0.4, "value_range": [0, 255]}},
    {"class_path": "ColorJitter", "init_args": {"saturation_factor": 0.4, "hue_factor": 0.3}},
]


@pytest.fixture(params=EXAMPLES, ids=lambda example: example["class_path"])
def transform(request: pytest.FixtureRequest) -> Augmentation:
    return from_config(request.param)


class Unfinished(Augmentation):
    """Says how many draws a sample needs, and nothing else."""

    draws = 1


class Inverted(Augmentation):
    """A transform of one's own."""

    draws = 1

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def draw(self, uniforms: Tensor) -> Params:
        return {"strength": uniforms[:, 0] * self.strength}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        return images + (255 - 2 * images) * params["strength"][:, None, None, None]


class Undecided(Augmentation):
    """Does not say how many draws it needs."""

    draw = Inverted.draw
    apply = Inverted.apply


class Shifted(Geometric):
    """Hands arguments on that it does not name."""

    draws = 1

    def __init__(self, pixels: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.pixels = pixels

    def draw(self, uniforms: Tensor) -> Params:
        return {"shift": uniforms[:, 0] * self.pixels}

    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        return affine((1.0, 0.0, params["shift"]), (0.0, 1.0, 0.0), params["shift"])


class ShiftedIntoGrey(Shifted):
    """Fixes one of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(fill_mode="constant", **options)


def test_the_examples_are_all_there_is() -> None:
    assert [example["class_path"] for example in EXAMPLES] == list(TRANSFORMS)
    assert all(getattr(augment, name) is cls for name, cls in TRANSFORMS.items())


def test_draws_differ_within_a_batch_and_follow_the_seed(transform: Augmentation) -> None:
    images = noise(1).expand(16, -1, -1, -1)
    torch.manual_seed(0)
    first = transform(images)
    assert first.dtype == torch.float32
    assert first.shape == images.shape
    assert len({tuple(sample.flatten().tolist()) for sample in first}) >= 2
    torch.manual_seed(0)
    assert torch.equal(transform(images), first)
    assert not torch.equal(transform(images), first)


def test_draw_takes_as_many_numbers_as_it_says(transform: Augmentation) -> None:
    params = transform.draw(torch.rand(5, transform.draws))
    assert all(value.shape[0] == 5 for value in params.values())
    assert all(value.dtype in (torch.float32, torch.bool) for value in params.values())
    double = transform.draw(torch.rand(5, transform.draws, dtype=torch.float64))
    assert all(value.dtype in (torch.float64, torch.bool) for value in double.values())


def test_one_image_and_compose(transform: Augmentation) -> None:
    image = noise(1)[0]
    assert transform(image).shape == image.shape
    chain = v2.Compose([transform, RandomFlip(), v2.Normalize([127.5] * 3, [127.5] * 3)])
    torch.manual_seed(0)
    result, label = chain(image, 3)
    assert result.shape == image.shape
    assert result.abs().max() <= 1 + 1e-5
    assert label == 3


def test_a_batch_dict_keeps_what_is_no_image(transform: Augmentation) -> None:
    batch = {"image": noise(4), "label": torch.arange(4), "index": torch.arange(4)}
    result = transform(batch)
    assert result["image"].dtype == torch.float32
    assert torch.equal(result["label"], batch["label"])
    assert torch.equal(result["index"], batch["index"])


def test_tv_images_stay_tv_images(transform: Augmentation) -> None:
    assert type(transform(tv_tensors.Image(noise(2)))) is tv_tensors.Image


def test_input_is_left_alone(transform: Augmentation) -> None:
    images = noise(4).float()
    before = images.clone()
    transform(images)
    assert torch.equal(images, before)


def test_config_round_trip_through_json(transform: Augmentation) -> None:
    config = transform.to_config()
    assert config["class_path"] == f"lightning_tl.augment.{type(transform).__name__}"
    again = from_config(json.loads(json.dumps(config)))
    assert type(again) is type(transform)
    assert again.to_config() == config
    uniforms = torch.rand(3, transform.draws)
    for name, value in transform.draw(uniforms).items():
        assert torch.equal(again.draw(uniforms)[name], value)


def test_pickle_and_deepcopy(transform: Augmentation) -> None:
    for twin in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert twin.to_config() == transform.to_config()


def test_a_class_of_ones_own() -> None:
    config = {"class_path": f"{Inverted.__module__}.Inverted", "init_args": {"strength": 0.5}}
    transform = from_config(config)
    assert transform.to_config() == config
    assert 100 < float(transform(torch.full((3, 4, 4), 100.0)).mean()) <= 127.5


def test_arguments_that_are_handed_on_are_part_of_the_config() -> None:
    """A checkpoint without them would train on with others."""
    for made, kept in (
        (Shifted(2.0, fill_mode="wrap"), {"pixels": 2.0, "fill_mode": "wrap"}),
        (Shifted(), {"pixels": 1.0}),
        (ShiftedIntoGrey(pixels=3.0, fill_value=9.0), {"pixels": 3.0, "fill_value": 9.0}),
    ):
        for transform in (made, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert transform.init_args() == kept
        again = from_config(made.to_config())
        assert again.to_config() == made.to_config()
        image, params = noise(1), {"shift": torch.tensor([1.5])}
        assert torch.equal(again.apply(image, params), made.apply(image, params))
    assert not torch.equal(Shifted().apply(image, params), Shifted(fill_mode="wrap").apply(image, params))


def test_arguments_that_are_handed_on_in_vain_are_named() -> None:
    for name, arguments in (("Shifted", {"fill": "wrap"}), ("ShiftedIntoGrey", {"fill_mode": "wrap"})):
        config = {"class_path": f"{__name__}.{name}", "init_args": arguments}
        with pytest.raises(
            InputError, match=rf"^{name}: it does not take these init_args \(.*{next(iter(arguments))}'"
        ):
            from_config(config)


def test_a_transform_that_does_not_say_how_many_draws_it_needs_is_named() -> None:
    with pytest.raises(InputError, match=r"^augment: Undecided must define draws, how many uniform numbers"):
        AugmentationPipeline([Undecided()])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"class_path": "RandomFlp"}, ["'RandomFlp'", "Did you mean RandomFlip"]),
        ({"class_path": "lightning_tl.augment.RandomRotate"}, ["RandomRotation"]),
        ({"class_path": "Xyz"}, ["Known are RandomFlip"]),
        ({"class_path": "no_such_module.Flip"}, ["no_such_module"]),
        ({"class_path": "torch.nn.Linear"}, ["torch.nn.Linear", "subclass"]),
        ({"class_path": f"{__name__}.Unfinished"}, ["Unfinished' must define apply and draw"]),
        (
            {"class_path": "RandomZoom", "init_args": {"factor": 0.1}},
            ["RandomZoom", "'factor'", "height_factor"],
        ),
        ({"class_path": "RandomZoom", "init_args": {"zzz": 0.1}}, ["RandomZoom", "'zzz'", "width_factor"]),
        ({"class_path": "RandomRotation"}, ["RandomRotation: factor is missing"]),
        ({"class_path": "RandomRotation", "init_args": [0.1]}, ["init_args", "[0.1]"]),
        ({"class_path": "RandomRotation", "factor": 0.1}, ["init_args", "factor"]),
        ("RandomFlip", ["class_path", "'RandomFlip'"]),
    ],
)
def test_bad_configs_are_named(config: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        from_config(config)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("sample", "word"),
    [
        (torch.zeros(4, 4), r"\(4, 4\)"),
        ("picture.jpg", "str"),
        ((noise(1), tv_tensors.Mask(torch.zeros(4, 4))), "Mask"),
        (v2.functional.to_pil_image(noise(1)[0]), "ToImage"),
    ],
)
def test_what_is_no_image_is_refused(sample: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        RandomRotation(0.1)(sample)
