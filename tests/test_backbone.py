"""Backbones: names, conventions, layer counting, inference mode."""

import copy
import pickle

import pytest
import timm
import torch
from torch import nn

from lightning_tl.backbone import Backbone
from lightning_tl.errors import InputError

SIZE = (64, 64)
LAST_20 = 1_206_080
"""Parameters in the last 20 layers of Keras' MobileNetV2 at alpha 1."""


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_100"])
@pytest.mark.parametrize("convention", ["keras", "torch"])
def test_unfreeze_last_20_gives_the_21_tensors_that_keras_trains(name: str, convention: str) -> None:
    backbone = Backbone(name, convention, SIZE)  # type: ignore[arg-type]
    assert len(backbone.layers()) == 154
    trainable = backbone.unfreeze_last(20)
    assert len(trainable) == 21
    parameters = dict(backbone.named_parameters())
    assert sum(parameters[name].numel() for name in trainable) == LAST_20
    assert backbone.unfreeze_last(0) == []


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_035", "timm/resnet10t"])
def test_all_unfreezes_everything_and_one_too_many_is_an_error(name: str) -> None:
    backbone = Backbone(name, "torch", SIZE)
    assert len(backbone.unfreeze_last("all")) == len(list(backbone.parameters()))
    count = len(backbone.layers())
    with pytest.raises(InputError, match=rf"unfreeze_last: {name} has {count} layers. Received: {count + 1}"):
        backbone.unfreeze_last(count + 1)


def test_other_backbones_count_modules_in_execution_order() -> None:
    backbone = Backbone("timm/resnet10t", "torch", SIZE)
    names = [name for name, _ in backbone.layers()]
    assert names.index("conv1.0") < names.index("layer1.0.conv1") < names.index("layer4.0.conv2")
    trainable = backbone.unfreeze_last(4)
    assert trainable
    assert all(name.startswith("net.layer4.0") for name in trainable)


def test_other_blocks_than_keras_has_are_counted_as_they_run() -> None:
    setting = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]
    backbone = Backbone("torchvision/mobilenet_v2", "torch", SIZE, {"inverted_residual_setting": setting})
    assert not backbone.counts_as_keras
    assert len(backbone.unfreeze_last(2)) == 2  # of BatchNorm; the activation after it has none
    with pytest.raises(InputError, match="only MobileNetV2 has the keras convention"):
        Backbone("torchvision/mobilenet_v2", "keras", SIZE, {"inverted_residual_setting": setting})


@pytest.mark.parametrize(
    ("name", "options"),
    [("timm/test_vit4", {}), ("timm/efficientformer_l1", {}), ("timm/resnet10t", {"in_chans": 1})],
)
def test_images_that_a_network_cannot_take_are_an_error_that_says_so(name: str, options: dict[str, int]) -> None:
    message = rf"backbone: {name} cannot compute features of RGB images of 100 x 68 pixels.*Give another image_size"
    with pytest.raises(InputError, match=message):
        Backbone(name, "torch", (100, 68), options)


@pytest.mark.parametrize(
    ("name", "said"), [("nest_tiny", "Model only handles square inputs"), ("xcit_nano_12_p16_224", "`patch_size`")]
)
def test_what_a_network_asserts_of_image_sizes_is_an_error_that_says_so(name: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"backbone: timm/{name} cannot be built for images of \(100, 68\).*{said}"):
        Backbone(f"timm/{name}", "torch", (100, 68))


@pytest.mark.parametrize("width", ["wide", None, True])
def test_a_width_that_is_no_number_is_an_error(width: object) -> None:
    with pytest.raises(InputError, match=rf"^backbone_args: width_mult must be a number\. Received: {width!r}"):
        Backbone("torchvision/mobilenet_v2", "torch", SIZE, {"width_mult": width})


def test_one_image_without_a_batch_is_an_error_that_names_its_shape() -> None:
    backbone = Backbone("timm/resnet10t", "torch", SIZE)
    image = torch.zeros(3, *SIZE)
    with pytest.raises(InputError, match=r"\(batch, 3, height, width\) is needed\. Received: \(3, 64, 64\)"):
        backbone(image)
    assert backbone(image[None]).shape == (1, backbone.num_features)


def test_channels_that_come_last_are_an_error_that_says_how_they_come_first() -> None:
    backbone = Backbone("timm/resnet10t", "torch", SIZE, fold_batchnorm=False)
    with pytest.raises(InputError, match=r"Received: \(2, 64, 64, 3\); .* images\.permute\(0, 3, 1, 2\)"):
        backbone(torch.zeros(2, *SIZE, 3))
    gray = torch.rand(2, 1, *SIZE) * 255
    torch.testing.assert_close(backbone(gray), backbone(gray.expand(-1, 3, -1, -1)))


def test_a_shortcut_without_layers_is_no_layer_in_the_way() -> None:
    """An empty Sequential has no length, and so is false."""
    backbone = Backbone("timm/ghostnet_100", "torch", SIZE)
    assert len(backbone.layers()) > 200
    assert backbone.unfreeze_last(10)


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "timm/convnext_atto"])
def test_transformers_and_convnext_count_weights_outside_leaf_modules_first(name: str) -> None:
    backbone = Backbone(name, "torch", SIZE)
    last = backbone.unfreeze_last(6)
    assert last
    assert not any("pos_embed" in tensor or "cls_token" in tensor for tensor in last)
    assert len(backbone.unfreeze_last("all")) == len(list(backbone.parameters()))


@pytest.mark.parametrize(
    ("name", "size"), [("swinv2_cr_tiny_ns_224", 224), ("swinv2_tiny_window8_256", 256), ("test_vit", 160)]
)
def test_layers_hold_every_weight_where_it_is_used(name: str, size: int) -> None:
    """Attention that computes with its projection's weights itself never calls it; nor is the network, with tokens."""
    backbone = Backbone(f"timm/{name}", "torch", (size, size))
    names = [layer for layer, _ in backbone.layers()]
    assert len(backbone.unfreeze_last(len(names))) == len(list(backbone.parameters()))
    if name == "swinv2_tiny_window8_256":
        block = "layers.0.blocks.0.attn"
        assert names.index(block) < names.index(f"{block}.qkv") < names.index(f"{block}.proj")
        assert f"net.{block}.qkv.weight" not in backbone.unfreeze_last(20)
    if name == "test_vit":
        assert names[0] == "(root)"


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_100"])
def test_keras_convention_has_keras_constants(name: str) -> None:
    norms = [m for m in Backbone(name, "keras", SIZE).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 52
    assert {norm.eps for norm in norms} == {1e-3}
    assert {round(norm.momentum or 0, 12) for norm in norms} == {0.001}


def test_torchvision_and_timm_agree_in_the_keras_convention() -> None:
    """The same network under two names: equal up to the order of summation."""
    ours, theirs = (
        Backbone(name, "keras", SIZE).double() for name in ("torchvision/mobilenet_v2", "timm/mobilenetv2_100")
    )
    tensors = [
        t
        for _, module in ours.layers()
        if module is not None
        for t in (*module.parameters(False), *module.buffers(False))
    ]
    targets = [
        t
        for _, module in theirs.layers()
        if module is not None
        for t in (*module.parameters(False), *module.buffers(False))
    ]
    assert len(tensors) == len(targets)
    with torch.no_grad():
        for source, target in zip(tensors, targets, strict=True):
            target.copy_(source)
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-12, atol=1e-12)


def test_padding_matters_at_even_sizes_only() -> None:
    """Keras pads one pixel at the bottom and right of even sizes; at odd sizes both conventions agree."""
    for size, equal in ((65, True), (64, False)):
        keras = Backbone("torchvision/mobilenet_v2", "keras", (size, size)).double()
        torch_ = Backbone("torchvision/mobilenet_v2", "torch", (size, size)).double()
        torch_.load_state_dict(keras.state_dict())
        for module in torch_.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3
        scaled = torch.rand(1, 3, size, size, dtype=torch.float64)
        ours, theirs = keras.features(scaled), torch_.features(scaled)
        assert bool((ours - theirs).norm() < 1e-12 * ours.norm()) is equal


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_100", "timm/levit_128s"])
def test_batchnorm_stays_in_inference_mode_whatever_train_is_called_on(name: str) -> None:
    size = (224, 224) if "levit" in name else SIZE
    backbone = Backbone(name, "torch", size)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.train()
    for module in backbone.modules():
        module.train()
    backbone(torch.randint(0, 256, (4, 3, *size)))
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_frozen_layers_build_no_graph() -> None:
    backbone = Backbone("torchvision/mobilenet_v2", "torch", SIZE)
    seen = {}
    for index in (15, 16, 18):
        backbone.net.features[index].register_forward_hook(  # type: ignore[index, union-attr]
            lambda _module, _inputs, output, index=index: seen.__setitem__(index, output.grad_fn)
        )
    backbone.unfreeze_last(20)
    backbone(torch.zeros(1, 3, *SIZE))
    assert seen[15] is None
    assert seen[16] is not None
    assert seen[18] is not None


def test_attention_biases_are_those_of_now() -> None:
    """In inference mode timm keeps what it has computed of them, from before pretrained weights are loaded on."""
    backbone = Backbone("timm/levit_128s", "torch", (224, 224))
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    biases = [parameter for name, parameter in backbone.named_parameters() if name.endswith("attention_biases")]
    assert biases
    for name, parameter in backbone.named_parameters():
        if name.endswith("bn.weight"):
            nn.init.ones_(parameter)  # random networks begin without attention
    features = []
    for scale in (0.0, 1.0, 2.0):
        with torch.no_grad():
            for bias in biases:
                bias.copy_(scale * torch.arange(bias.numel()).view_as(bias) % 7)
            features.append(backbone(images))
    assert not torch.equal(features[0], features[1])
    assert not torch.equal(features[1], features[2])
    backbone.unfreeze_last("all")
    backbone(images).square().sum().backward()
    assert all(bias.grad is not None and bias.grad.any() for bias in biases)
    assert torch.equal(copy.deepcopy(backbone)(images), backbone(images))


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Received: torchvision/mobilenet_v3.*torchvision/mobilenet_v2"):
        Backbone("torchvision/mobilenet_v3", "torch", SIZE)
    with pytest.raises(InputError, match=r"Received: timm/mobilnetv2_100.*timm/mobilenetv2_100"):
        Backbone("timm/mobilnetv2_100", "torch", SIZE)
    with pytest.raises(InputError, match=r"Received: mobilenetv2_100.*timm/mobilenetv2_100"):
        Backbone("mobilenetv2_100", "torch", SIZE)


def test_images_smaller_than_the_stride_are_refused() -> None:
    for name in ("torchvision/mobilenet_v2", "timm/mobilenetv2_100"):
        with pytest.raises(InputError, match=r"image_size: .* reduces images by 32. Received: \(31, 64\)"):
            Backbone(name, "torch", (31, 64))


def test_keras_convention_is_for_mobilenetv2_alone() -> None:
    with pytest.raises(InputError, match="only MobileNetV2 has the keras convention"):
        Backbone("timm/resnet10t", "keras", SIZE)


def test_widths_at_which_keras_has_other_channels_are_torch_networks() -> None:
    assert not Backbone("torchvision/mobilenet_v2", "torch", SIZE, {"width_mult": 0.56}).counts_as_keras
    with pytest.raises(InputError, match=r"only MobileNetV2 has the keras convention.*\(width 0.56\)"):
        Backbone("torchvision/mobilenet_v2", "keras", SIZE, {"width_mult": 0.56})


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be built"):
        Backbone("torchvision/mobilenet_v2", "torch", SIZE, {"widht_mult": 0.35})
    assert Backbone("torchvision/mobilenet_v2", "torch", SIZE, {"width_mult": 0.35}).num_features == 1280


def test_backbones_can_be_copied_and_pickled() -> None:
    """Spawned processes receive the module as a pickle."""
    backbone = Backbone("timm/mobilenetv2_035", "keras", SIZE)
    images = torch.randint(0, 256, (1, 3, *SIZE))
    for copied in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert torch.equal(copied(images), backbone(images))
        assert not any(m.training for m in copied.train().modules() if isinstance(m, nn.BatchNorm2d))


def test_scaling_of_both_conventions() -> None:
    pixels = torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1)
    keras = Backbone("torchvision/mobilenet_v2", "keras", SIZE).scale(pixels)
    assert keras.flatten().tolist() == [-1.0, 0.0, 1.0]
    torch_ = Backbone("torchvision/mobilenet_v2", "torch", SIZE).scale(pixels)
    expected = torch.tensor([-0.485 / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(torch_.flatten(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet10t"])
def test_pixels_are_scaled_as_timm_tells(name: str) -> None:
    """The first has other constants than ImageNet's."""
    cfg = timm.get_pretrained_cfg(name)
    assert cfg is not None
    pixels = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (cfg.mean, cfg.std))
    scaled = Backbone(f"timm/{name}", "torch", SIZE).scale(pixels)
    torch.testing.assert_close(scaled, (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=str)
def test_the_gradient_of_pooling_lies_in_memory_as_the_features_do(memory_format: torch.memory_format) -> None:
    """Otherwise the backward pass of the last convolution begins with a copy of it all."""
    backbone = Backbone("torchvision/mobilenet_v2", "torch", (32, 32))
    features = torch.randn(2, 1280, 5, 5).to(memory_format=memory_format).requires_grad_()
    gradients: list[torch.Tensor] = []
    features.register_hook(gradients.append)
    pooled = backbone.pool(features)
    pooled.square().sum().backward()
    assert torch.equal(pooled, features.detach().mean(dim=(2, 3)))
    assert gradients[0].is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(gradients[0], (2 * pooled / 25)[:, :, None, None].expand(2, 1280, 5, 5))


@pytest.mark.parametrize("name", ["timm/repvgg_a0", "timm/fastvit_t8"])
def test_networks_whose_gradient_would_end_the_process_have_channels_first(name: str) -> None:
    """Of the first convolutions, with strides and kernels of one pixel, on images with channels last."""
    backbone = Backbone(name, "torch", (64, 64))
    first = next(module for module in backbone.net.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 3
    assert all(w.is_contiguous() for w in backbone.net.parameters() if w.dim() == 4)
    backbone.unfreeze_last("all")
    for _ in range(3):
        backbone(torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8)).sum().backward()
    assert first.weight.grad is not None
    assert first.weight.grad.isfinite().all()
