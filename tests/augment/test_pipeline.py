"""The pipeline: draws by sample, fused against one by one."""

import copy
import pickle

import pytest
import torch
from pictures import noise, waves

from lightning_tl import draws
from lightning_tl.augment import (
    AugmentationPipeline,
    ColorJitter,
    Geometric,
    RandomBrightness,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from lightning_tl.errors import InputError

INDEX = torch.arange(8)


def recipe() -> list[Geometric]:
    return [RandomFlip("horizontal"), RandomRotation(0.1), RandomZoom(0.1)]


def both(*transforms: Geometric) -> tuple[AugmentationPipeline, AugmentationPipeline]:
    return AugmentationPipeline(transforms, fused=True), AugmentationPipeline(transforms, fused=False)


def test_draws_come_from_the_stream_of_the_position() -> None:
    pipeline = AugmentationPipeline(recipe())
    for position, (transform, params) in enumerate(zip(recipe(), pipeline.draw(INDEX, 3, 5), strict=True)):
        key = draws.stream_key(3, draws.AUGMENT + position, 5)
        for name, value in transform.draw(draws.uniforms(key, INDEX, transform.draws)).items():
            assert torch.equal(params[name], value)


def test_a_sample_looks_the_same_in_any_batch() -> None:
    pipeline, images = AugmentationPipeline([*recipe(), ColorJitter(hue_factor=0.3)]), noise(8, 20, 20)
    whole = pipeline(images, INDEX, 0, 0)
    order = torch.tensor([6, 1, 3])
    assert torch.equal(pipeline(images[order], order, 0, 0), whole[order])
    assert torch.equal(pipeline(images, INDEX, 0, 0), whole)
    assert not torch.equal(pipeline(images, INDEX, 0, 1), whole)
    assert not torch.equal(pipeline(images, INDEX, 1, 0), whole)


def test_the_same_image_is_augmented_differently_within_a_batch() -> None:
    images = noise(1, 20, 20).expand(8, -1, -1, -1)
    out = AugmentationPipeline(recipe())(images, INDEX, 0, 0)
    assert len({tuple(sample.flatten().tolist()) for sample in out}) == 8


@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "nearest", "wrap"])
@pytest.mark.parametrize("kind", ["flip", "rotation", "zoom", "translation"])
def test_a_single_transform_fused_is_the_same_to_the_bit(kind: str, fill_mode: str) -> None:
    transform = {
        "flip": RandomFlip(),
        "rotation": RandomRotation(0.2, fill_mode),
        "zoom": RandomZoom(0.2, 0.3, fill_mode),
        "translation": RandomTranslation(0.2, 0.3, fill_mode),
    }[kind]
    fused, sequential = both(transform)
    assert torch.equal(fused(noise(8), INDEX, 0, 0), sequential(noise(8), INDEX, 0, 0))


def test_flips_are_exact_however_many() -> None:
    images = noise(8)
    fused, sequential = both(RandomFlip("horizontal"), RandomFlip("vertical"))
    result = fused(images, INDEX, 0, 0)
    first, second = (params["flips"] for params in fused.draw(INDEX, 0, 0))
    expected = images.clone()
    expected[first] = expected[first].flip(-1)
    expected[second] = expected[second].flip(-2)
    assert torch.equal(result, expected.float())
    assert torch.equal(sequential(images, INDEX, 0, 0), result)


@pytest.mark.parametrize("size", [(96, 96), (95, 101)])
def test_fused_is_near_sequential_away_from_the_border(size: tuple[int, int]) -> None:
    transforms = [RandomFlip(), *recipe(), RandomTranslation(0.05, 0.05)]
    fused, sequential = both(*transforms)
    images = waves(8, *size)
    params = fused.draw(INDEX, 0, 0)
    centre = (..., slice(30, -30), slice(30, -30))
    difference = (fused.apply(images, params) - sequential.apply(images, params))[centre].abs().max()
    # A linear interpolation is off by at most |second derivative| / 8 on either axis: 60 · (12.6 / 94)² / 4
    # = 0.27 in all; the sequence has three of them, the fused path one.
    assert difference < 4 * 0.27
    wrong = fused.apply(images, sequential.draw(INDEX, 0, 1)) - sequential.apply(images, params)
    assert wrong[centre].abs().max() > 50


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_the_product_has_the_order_of_application(interpolation: str) -> None:
    images = noise(1, 16, 16).double()
    shift = RandomTranslation(0.5, 0.5, "wrap", interpolation)
    turn = RandomRotation(0.5, "wrap", interpolation)
    params = [
        {"height_shift": torch.tensor([0.25]), "width_shift": torch.tensor([0.125])},
        {"angle": torch.tensor([90.0])},
    ]
    expected = images.roll((4, 2), (-2, -1)).rot90(1, (-2, -1))
    for pipeline in both(shift, turn):
        torch.testing.assert_close(pipeline.apply(images, params), expected, rtol=0, atol=1e-9)


def test_another_fill_or_colour_begins_a_new_group() -> None:
    pipeline = AugmentationPipeline(
        [
            RandomFlip(),
            RandomRotation(0.1),
            RandomFlip(),
            RandomZoom(0.1, fill_mode="constant"),
            RandomFlip(),
            RandomZoom(0.1, fill_mode="constant", fill_value=9.0),
            RandomZoom(0.1, fill_mode="constant", fill_value=9.0, interpolation="nearest"),
            RandomContrast(0.1),
            RandomBrightness(0.1),
            RandomFlip(),
        ]
    )
    drawn = list(zip(pipeline.transforms, pipeline.draw(INDEX, 0, 0), strict=True))
    assert [len(group) for group in pipeline._groups(drawn)] == [3, 2, 1, 1, 1, 1, 1]
    pipeline.fused = False
    assert [len(group) for group in pipeline._groups(drawn)] == [1] * 10
    assert pipeline(noise(8), INDEX, 0, 0).shape == noise(8).shape


@pytest.mark.parametrize("fused", [True, False])
def test_no_rounding_in_between(fused: bool) -> None:
    pipeline = AugmentationPipeline([RandomBrightness(0.3), RandomContrast(0.5)], fused)
    images = noise(8)
    params = pipeline.draw(INDEX, 0, 0)
    expected = RandomContrast(0.5).apply(RandomBrightness(0.3).apply(images, params[0]), params[1])
    assert torch.equal(pipeline.apply(images, params), expected)


@pytest.mark.parametrize("fused", [True, False])
def test_types_autocast_and_compile(fused: bool) -> None:
    pipeline = AugmentationPipeline([*recipe(), ColorJitter(saturation_factor=0.3)], fused)
    images, params = noise(8, 21, 20), pipeline.draw(INDEX, 0, 0)
    expected = pipeline.apply(images, params)
    assert expected.dtype == torch.float32
    assert torch.equal(pipeline.apply(images.float(), params), expected)
    double = pipeline(images.double(), INDEX, 0, 0)
    assert double.dtype == torch.float64
    torch.testing.assert_close(expected.double(), double, rtol=0, atol=2e-2)  # noise times 1e-5 pixels, twice
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pipeline(images, INDEX, 0, 0), expected)
    compiled = torch.compile(pipeline.apply, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, params), expected)


def test_draws_are_the_same_numbers_in_float64() -> None:
    pipeline = AugmentationPipeline(recipe())
    for single, double in zip(pipeline.draw(INDEX, 0, 0), pipeline.draw(INDEX, 0, 0, torch.float64), strict=True):
        for name, value in single.items():
            torch.testing.assert_close(double[name].double(), value.double(), rtol=1e-6, atol=1e-5)


def test_empty_pipeline_makes_floats() -> None:
    assert torch.equal(AugmentationPipeline([])(noise(8), INDEX, 0, 0), noise(8).float())


def test_pickle_deepcopy_and_no_state() -> None:
    pipeline = AugmentationPipeline(recipe())
    expected = pipeline(noise(8), INDEX, 0, 0)
    for twin in (pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)):
        assert torch.equal(twin(noise(8), INDEX, 0, 0), expected)
    assert not pipeline.state_dict()
    assert not list(pipeline.parameters())


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"element 1 .* Linear"):
        AugmentationPipeline([RandomFlip(), torch.nn.Linear(1, 1)])
    with pytest.raises(InputError, match=r"3 transforms. Received: 1"):
        AugmentationPipeline(recipe()).apply(noise(8), [{}])
