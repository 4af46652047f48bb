"""The recipe as a functional model: augmentation, scaled pixels, frozen backbone, dropout, dense layer."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_ref import draws
from keras_ref.augment import Injected, from_config
from keras_ref.backbone import Backbone, preprocess
from keras_ref.head import SharedDropout, head_kernel
from keras_ref.options import ModelConfig
from keras_ref.weights import load_weights


@dataclass(frozen=True)
class TransferClassifier:
    """A model and what is needed to train it.

    Attributes:
        model: from inputs by name to probabilities (batch, classes). ``image`` is float32 in [0, 255],
            (batch, height, width, 3); pixel scaling is inside.
        saver: the same layers as a model that is never compiled, so that its weight files hold no optimizer.
        backbone: the layer of ``model`` that holds the pretrained network.
        augment: the augmentations of ``model`` as a model of their own, from their inputs to images, float32 in
            [0, 255]; None where there are none.
        drawn: inputs that are uniform numbers, name to stream and count; empty where Keras draws.
        weights_record: where the weights came from.
    """

    model: Any
    saver: Any
    backbone: Backbone
    augment: Any | None
    drawn: dict[str, tuple[int, int]]
    weights_record: dict[str, str]


def build_classifier(
    config: ModelConfig, image_size: tuple[int, int], num_classes: int, seed: int, shared: bool = False
) -> TransferClassifier:
    """The model with its initial weights.

    Args:
        config: the ``model`` block.
        image_size: (height, width) in pixels.
        num_classes: at least two.
        seed: of the head's initial weights, if shared; Keras' own streams follow
            ``keras.utils.set_random_seed``.
        shared: augmentation and dropout take uniform numbers as inputs instead of drawing themselves.

    Raises:
        InputError: augmentations or weights that Keras does not take.
    """
    backbone = Backbone(image_size, config.alpha, name="backbone")
    record = load_weights(backbone.base, config.weights, config.alpha)
    inputs = {"image": keras.Input((*image_size, 3), name="image")}
    drawn: dict[str, tuple[int, int]] = {}

    def uniforms(name: str, stream: int, count: int) -> Any:
        drawn[name] = (stream, count)
        inputs[name] = keras.Input((count,), name=name)
        return inputs[name]

    x = inputs["image"]
    for position, item in enumerate(config.augment):
        layer = from_config(item, shared)
        if shared:
            layer = Injected(layer, name=f"injected_{position}")
            x = layer(x, uniforms(f"augment_{position}", draws.AUGMENT + position, layer.draws))
        else:
            x = layer(x)
    augment = keras.Model(dict(inputs), x) if config.augment else None
    x = backbone(preprocess(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    if shared:
        x = SharedDropout(config.dropout)(x, uniforms("dropout", draws.DROPOUT, x.shape[-1]))
    else:
        x = keras.layers.Dropout(config.dropout)(x)
    head = keras.layers.Dense(num_classes, activation="softmax", name="head")
    outputs = head(x)
    if shared:
        head.set_weights([head_kernel(x.shape[-1], num_classes, seed), np.zeros(num_classes, np.float32)])
    model, saver = keras.Model(inputs, outputs), keras.Model(inputs, outputs)
    return TransferClassifier(model, saver, backbone, augment, drawn, record)
