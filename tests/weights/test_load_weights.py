"""Files into tensors, tensors into networks, and what is said when they do not fit."""

import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from lightning_tl import TransferClassifier
from lightning_tl.errors import InputError
from lightning_tl.weights import WeightsFile, check_state, find_weights, load_into, load_weights, sha256

NAME = "torchvision/mobilenet_v2"


@pytest.fixture
def narrow() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.mobilenet_v2(width_mult=0.35)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_every_torch_format(tmp_path: Path, narrow: nn.Module, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(narrow.state_dict(), path) if suffix == ".safetensors" else torch.save(narrow.state_dict(), path)
    found = find_weights(NAME, str(path))
    assert found == WeightsFile(path, f"file {path}", sha256(path), "torch", NAME)
    _assert_equal(load_weights(found), narrow.state_dict())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_nested_data_parallel_and_compiled_state_dicts(tmp_path: Path, narrow: nn.Module, prefix: str) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in narrow.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "run.pth")
    _assert_equal(load_weights(find_weights(NAME, str(tmp_path / "run.pth"))), narrow.state_dict())


def test_loading_fills_the_backbone_and_leaves_the_classifier(tmp_path: Path, narrow: nn.Module) -> None:
    torch.save(narrow.state_dict(), tmp_path / "w.pth")
    other = torchvision.models.mobilenet_v2(width_mult=0.35, num_classes=7)
    before = other.classifier[1].weight.clone()
    load_into(other, NAME, find_weights(NAME, str(tmp_path / "w.pth")))
    assert torch.equal(other.features[0][0].weight, narrow.features[0][0].weight)  # type: ignore[index, union-attr]
    assert torch.equal(other.classifier[1].weight, before)


def test_old_files_without_batch_counters(tmp_path: Path, narrow: nn.Module) -> None:
    state = {name: tensor for name, tensor in narrow.state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "w.pth")
    load_into(narrow, NAME, find_weights(NAME, str(tmp_path / "w.pth")))


@pytest.mark.parametrize(
    ("file", "backbone"),
    [
        ("mobilenet_v2-b0353104.pth", NAME),
        ("timm_tf_efficientnet_lite0.pth", "timm/tf_efficientnet_lite0"),
        ("keras_mobilenet_v2_1.0_224_no_top.h5", NAME),
        ("keras_mobilenet_v2_0.35_224_no_top.h5", "timm/mobilenetv2_035"),
    ],
)
def test_real_files(assets: Path, file: str, backbone: str) -> None:
    library, _, name = backbone.partition("/")
    net = torchvision.models.mobilenet_v2() if library == "torchvision" else timm.create_model(name, num_classes=0)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    found = find_weights(backbone, str(assets / "weights" / file))
    load_into(net, backbone, found)
    assert found.convention == ("keras" if file.startswith("keras") else "torch")
    same = [key for key, tensor in net.state_dict().items() if torch.equal(tensor, before[key])]
    assert all(key.startswith("classifier") or key.endswith("num_batches_tracked") for key in same)


def test_weights_of_another_architecture(tmp_path: Path, narrow: nn.Module) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    with pytest.raises(
        InputError, match=r"resnet\.pth for torchvision/mobilenet_v2: weights of another arch"
    ) as raised:
        load_into(narrow, NAME, find_weights(NAME, str(tmp_path / "resnet.pth")))
    assert "260 of 260 tensors missing (features.0.0.weight, features.0.1.weight, features.0.1.bias, …)" in str(
        raised.value
    )
    assert "1 of 1 tensors unexpected (conv1.weight)" in str(raised.value)


def test_keras_weights_of_another_width_name_theirs(assets: Path) -> None:
    found = find_weights(NAME, str(assets / "weights/keras_mobilenet_v2_0.35_224_no_top.h5"))
    message = r"MobileNetV2, alpha 0\.35\) for torchvision/mobilenet_v2.*of another shape"
    with pytest.raises(InputError, match=message):
        load_into(torchvision.models.mobilenet_v2(), NAME, found)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": (2,)}, r"1 of 2 tensors missing \(b\)"),
        ({"a": (2,), "b": (3,), "c": (1,)}, r"1 of 3 tensors unexpected \(c\)"),
        ({"a": (2,), "b": (4,)}, r"1 of 2 tensors of another shape \(b is \(4,\) instead of \(3,\)\)"),
    ],
)
def test_check_state_names_what_is_wrong(state: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(InputError, match=f"^here: weights of another architecture\\? {message}"):
        check_state({"a": torch.zeros(2), "b": torch.Size([3])}, state, "here")


def test_check_state_compares_no_counters() -> None:
    check_state({"a": (2,), "m.num_batches_tracked": ()}, {"a": (2,), "n.num_batches_tracked": ()}, "x")


def test_check_state_speaks_of_sizes_where_shapes_alone_differ() -> None:
    with pytest.raises(InputError, match=r"of another architecture or image size\? 1 of 1 .*\. Take 8\. Give weights"):
        check_state({"a": (2,)}, {"a": (3,)}, "here", "Take 8.")
    with pytest.raises(InputError, match=r"of another architecture\? (?!.*Take 8)"):
        check_state({"a": (2,), "b": (2,)}, {"a": (3,)}, "here", "Take 8.")


@pytest.mark.parametrize("name", ["levit_128s", "repvit_m0_9", "caformer_s18"])
def test_heads_of_several_layers_are_left_aside_whole(tmp_path: Path, name: str) -> None:
    """Timm takes them out of a network without classes."""
    full, bare = timm.create_model(name), timm.create_model(name, num_classes=0)
    torch.save(full.state_dict(), tmp_path / "w.pth")
    load_into(bare, f"timm/{name}", find_weights(f"timm/{name}", str(tmp_path / "w.pth")))
    assert len(full.state_dict()) - len(bare.state_dict()) > 2
    _assert_equal(bare.state_dict(), {key: full.state_dict()[key] for key in bare.state_dict()})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head.norm.weight": None}, r"1 of \d+ tensors missing \(head\.norm\.weight\)\. Give"),
        ({"head.norm.weight": 5}, r"1 of \d+ tensors of another shape \(head\.norm\.weight is \(5,\)"),
        ({"stages.9.weight": 5}, r"1 of \d+ tensors unexpected \(stages\.9\.weight\)\. Give"),
        ({"header.weight": 5}, r"1 of \d+ tensors unexpected \(header\.weight\)\. Give"),
        ({"head.fc0.weight": 5}, ""),
    ],
    ids=str,
)
def test_what_a_network_has_of_a_head_is_compared(tmp_path: Path, changed: dict[str, int | None], message: str) -> None:
    state = timm.create_model("convnext_atto").state_dict()
    for name, size in changed.items():
        state.pop(name, None)
        state |= {} if size is None else {name: torch.zeros(size)}
    torch.save(state, tmp_path / "w.pth")
    bare, found = timm.create_model("convnext_atto", num_classes=0), find_weights("timm/x", str(tmp_path / "w.pth"))
    with pytest.raises(InputError, match=message) if message else nullcontext():
        load_into(bare, "timm/convnext_atto", found)


def test_positions_for_another_image_size_are_told_from_another_architecture(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save(timm.create_model("test_vit").state_dict(), file)
    options = {"class_names": ["a", "b"], "backbone": "timm/test_vit", "weights": str(file)}
    message = (
        r"architecture or image size\? 1 of \d+ tensors of another shape \(pos_embed is .*\)\. timm's own weights are "
        r"for images of 160 x 160 pixels and this network is for 96 x 64: for those, set data\.image_size to 160\. Give"
    )
    with pytest.raises(InputError, match=message):
        TransferClassifier(**options, image_size=(96, 64))
    TransferClassifier(**options, image_size=160)


def test_networks_for_any_image_size_are_not_told_of_theirs(tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv2_050").state_dict(), tmp_path / "w.pth")
    net, found = timm.create_model("mobilenetv2_035", num_classes=0), find_weights("timm/x", str(tmp_path / "w.pth"))
    with pytest.raises(InputError, match=r"weights of another architecture\? .*of another shape") as raised:
        load_into(net, "timm/mobilenetv2_035", found, (96, 96))
    assert "image_size" not in str(raised.value)


class Malicious:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"w": Malicious(tmp_path / "ran")}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(InputError, match=rf"{name} is not a file of tensors alone.*state_dict"):
            load_weights(find_weights(NAME, str(tmp_path / name)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".ckpt", ".pth"])
def test_a_lightning_checkpoint_is_told_where_to_go(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"last{suffix}"
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": {"w": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match=rf"last{suffix} is a Lightning checkpoint.*--ckpt_path"):
        load_weights(find_weights(NAME, str(path)))


@pytest.mark.parametrize(("content", "message"), [([1, 2], "holds no state dict"), ({"a": 1}, "holds no state dict")])
def test_files_without_a_state_dict(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        load_weights(find_weights(NAME, str(tmp_path / "w.pth")))


@pytest.mark.parametrize("name", ["text.pth", "text.pt", "text.safetensors", "text.h5", "text.keras", "empty.pth"])
def test_files_that_are_not_what_their_name_says(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("" if name.startswith("empty") else "not weights, just text")
    with pytest.raises(InputError, match=name):
        load_weights(find_weights(NAME, str(tmp_path / name)))


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Received: imagnet, and there is no such file"):
        find_weights(NAME, "imagnet")
    (tmp_path / "w.onnx").touch()
    with pytest.raises(InputError, match=r"must end in one of \.pth.*Received: '\.onnx'"):
        find_weights(NAME, str(tmp_path / "w.onnx"))


@pytest.mark.parametrize("backbone", ["timm/resnet18", "timm/mobilenetv2_110d", "timm/mobilenetv2_120d"])
def test_keras_files_are_for_mobilenet_v2_alone(tmp_path: Path, backbone: str) -> None:
    (tmp_path / "w.h5").touch()
    with pytest.raises(InputError, match=rf"110d and 120d are deeper.*for {backbone}"):
        find_weights(backbone, str(tmp_path / "w.h5"))


def test_safetensors_may_tell_their_convention(tmp_path: Path, narrow: nn.Module) -> None:
    save_file(narrow.state_dict(), tmp_path / "w.safetensors", metadata={"convention": "keras"})
    assert find_weights(NAME, str(tmp_path / "w.safetensors")).convention == "keras"
    save_file(narrow.state_dict(), tmp_path / "w.safetensors", metadata={"convention": "caffe"})
    with pytest.raises(InputError, match="keras or torch. Received: 'caffe'"):
        find_weights(NAME, str(tmp_path / "w.safetensors"))


def _assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
