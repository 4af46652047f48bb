"""Dropout masks, initial weights and the loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lightning_tl import draws
from lightning_tl.errors import InputError
from lightning_tl.head import Dropout, class_weight_tensor, linear_head, weighted_loss


def test_dropout_keeps_where_the_draw_reaches_the_rate_and_rescales() -> None:
    features, uniforms = torch.ones(1, 4), torch.tensor([[0.0, 0.19, 0.2, 0.9]])
    assert Dropout(0.2)(features, uniforms).tolist() == [[0.0, 0.0, 1.25, 1.25]]


def test_dropout_is_the_identity_in_inference_mode() -> None:
    features = torch.randn(2, 4)
    assert Dropout(0.5).eval()(features) is features


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_dropout_rates_outside_the_range_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match=r"dropout: a fraction in \[0, 1\). Received"):
        Dropout(rate)


def test_initial_head_is_glorot_uniform_with_zero_bias_and_repeats() -> None:
    head = linear_head(1280, 100, seed=3)
    limit = math.sqrt(6 / 1380)
    weight = head.weight.detach()
    assert weight.abs().max() <= limit
    assert weight.abs().max() > 0.999 * limit
    # 128000 draws: the standard error of the mean is limit/sqrt(3)/358
    assert abs(float(weight.mean())) < 4 * limit / math.sqrt(3) / 358
    assert abs(float(weight.std()) / (limit / math.sqrt(3)) - 1) < 0.01
    assert not head.bias.any()
    assert torch.equal(weight, linear_head(1280, 100, seed=3).weight)
    assert not torch.equal(weight, linear_head(1280, 100, seed=4).weight)


def test_loss_divides_by_the_number_of_samples_as_keras_does() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    weights = torch.tensor([1.0, 2.0, 5.0])
    expected = sum(weights[label] * F.cross_entropy(row, label) for row, label in zip(logits, labels, strict=True)) / 6
    torch.testing.assert_close(weighted_loss(logits, labels, weights), torch.as_tensor(expected))
    torch.testing.assert_close(weighted_loss(logits, labels), F.cross_entropy(logits, labels))


def test_class_weights_by_name() -> None:
    assert class_weight_tensor({"b": 3.0}, ["a", "b"]).tolist() == [1.0, 3.0]
    assert class_weight_tensor({0: np.float32(0.5)}, ["0", "1"]).tolist() == [0.5, 1.0]  # YAML's {0: 0.5}
    with pytest.raises(InputError, match="no such class: 7. Classes: 0, 1"):
        class_weight_tensor({7: 1.0}, ["0", "1"])
    with pytest.raises(InputError, match="no such class: c. Classes: a, b"):
        class_weight_tensor({"c": 1.0}, ["a", "b"])
    with pytest.raises(InputError, match="finite numbers of 0 or more"):
        class_weight_tensor({"a": -1.0}, ["a", "b"])


def test_masks_depend_on_sample_and_epoch_not_on_the_batch() -> None:
    index = torch.tensor([7, 3, 11])
    key = draws.stream_key(5, draws.DROPOUT, 2)
    together = Dropout(0.2).draw(index, 16, seed=5, epoch=2)
    alone = torch.cat([draws.uniforms(key, one[None], 16) for one in index])
    assert torch.equal(together, alone)
    assert not torch.equal(together, draws.uniforms(draws.stream_key(5, draws.DROPOUT, 3), index, 16))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_are_not_rounded_before_they_are_averaged(dtype: torch.dtype) -> None:
    logits = torch.linspace(-3, 3, 24).view(6, 4).to(dtype)
    labels = torch.arange(6) % 4
    loss = weighted_loss(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, weighted_loss(logits.float(), labels, label_smoothing=0.1), rtol=0, atol=0)
