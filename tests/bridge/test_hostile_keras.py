"""Keras files from strangers: read as numbers and names; nothing that they name is run, followed or believed."""

import base64
import json
import marshal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lightning_tl.bridge import read_keras
from lightning_tl.errors import InputError
from lightning_tl.keras_layers import name_table

ALPHA = 0.35
CODE = {"exec", "import", "compile", "marshal.load", "marshal.loads", "pickle.find_class", "os.system", "os.exec",
        "subprocess.Popen", "ctypes.dlopen"}  # fmt: skip
"""Audit events of Python that running anything from a file would raise."""
SEEN: list[str] = []
LISTENING = False


def listen(event: str, _: Any) -> None:
    if LISTENING and event in CODE:
        SEEN.append(event)


def read_listening(path: Path) -> list[str]:
    """Read the file; the audit events that running code raises. A hook can never be taken off again."""
    global LISTENING
    read_keras(path, "timm")  # imports and caches of the reader's own
    LISTENING = True
    try:
        read_keras(path, "timm")
    finally:
        LISTENING = False
    return SEEN


@pytest.fixture(scope="module", autouse=True)
def hook() -> None:
    sys.addaudithook(listen)


def write_numbers(root: h5py.Group) -> None:
    """A whole MobileNetV2 of zeros by the names of the legacy layout."""
    root.attrs["layer_names"] = [b"Conv1"]
    for row in name_table("timm", ALPHA):
        layer, variable = row.keras.split("/")
        root[f"{layer}/{layer}/{variable}"] = np.zeros(row.shape, np.float32)


def describe(*hostile: dict[str, Any]) -> dict[str, Any]:
    norm = {"class_name": "BatchNormalization", "config": {"name": "bn_Conv1", "epsilon": 1e-3}}
    return {"class_name": "Functional", "config": {"layers": [norm, *hostile]}}


def write_archive(path: Path, config: Any, numbers: Callable[[h5py.File], None] = write_numbers) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        numbers(file)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.write(path.with_suffix(".h5"), "model.weights.h5")
    return path


def hostile_layers(ran: Path) -> list[dict[str, Any]]:
    """What has made Keras run code: a Lambda of byte code, and classes and functions named by module."""
    code = compile(f"open({str(ran)!r}, 'w')", "lambda", "eval")
    function = {"class_name": "__lambda__", "config": {"code": base64.b64encode(marshal.dumps(code)).decode()}}
    named = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    return [
        {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "l", "function": function}},
        {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "m", "function": named}},
        {"class_name": "Popen", "module": "subprocess", "config": {"args": ["touch", str(ran)]}},
    ]


def test_layers_of_code_in_a_keras_archive_are_not_run(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "lambda.keras", describe(*hostile_layers(tmp_path / "ran")))
    assert read_listening(path) == []
    assert not (tmp_path / "ran").exists()


def test_layers_of_code_in_an_hdf5_model_are_not_run(tmp_path: Path) -> None:
    """``model.save("x.h5")``, where Keras' own safe mode did not look (CVE-2025-9905); and a pickle as attribute."""
    path = tmp_path / "lambda.h5"
    with h5py.File(path, "w") as file:
        write_numbers(file.create_group("model_weights"))
        file.attrs["model_config"] = json.dumps(describe(*hostile_layers(tmp_path / "ran")))
        file.attrs["pickle"] = np.void(b"cos\nsystem\n(S'touch ran'\ntR.")
    assert read_listening(path) == []
    assert not (tmp_path / "ran").exists()


def test_the_hook_hears_code(tmp_path: Path) -> None:
    """The two tests above could fail."""
    global LISTENING
    LISTENING = True
    marshal.loads(marshal.dumps(compile("1", "x", "eval")))
    LISTENING = False
    assert "marshal.loads" in SEEN
    SEEN.clear()


def other_file(folder: Path) -> Path:
    """A second file, whole and valid: what a link to it would bring in is what is missing."""
    with h5py.File(folder / "other.h5", "w") as file:
        write_numbers(file.create_group("model_weights"))
    return folder / "other.h5"


def link_everything(file: h5py.File, other: Path) -> None:
    file["model_weights"] = h5py.ExternalLink(str(other), "model_weights")


def link_by_order(file: h5py.File, other: Path) -> None:
    """Names that are none of Keras' make the reader go by ``layer_names``, which may name links."""
    file.attrs["layer_names"] = [f"layer_{number}".encode() for number in range(3)]
    for number in range(3):
        file[f"layer_{number}"] = h5py.ExternalLink(str(other), "model_weights/Conv1")


def virtual(file: h5py.File, other: Path) -> None:
    root = file.create_group("model_weights")
    write_numbers(root)
    del root["bn_Conv1/bn_Conv1/gamma"]
    layout = h5py.VirtualLayout((16,), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "model_weights/bn_Conv1/bn_Conv1/gamma", (16,))
    root["bn_Conv1/bn_Conv1"].create_virtual_dataset("gamma", layout)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (link_everything, "model_weights is missing, or a link to another place"),
        (link_by_order, "layer_0 is missing, or a link to another place"),
        (virtual, "bn_Conv1/gamma is stored in another file"),
    ],
)
def test_nothing_is_read_from_another_file(
    tmp_path: Path, spoil: Callable[[h5py.File, Path], None], message: str
) -> None:
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        spoil(file, other_file(tmp_path))
    with pytest.raises(InputError, match=message):
        read_keras(tmp_path / "linked.h5", "timm")


@pytest.mark.parametrize("shapes", [((1280, 2**40), None), ((1280, 3), (2**40,))])
def test_a_huge_classifier_is_refused_before_it_is_read(tmp_path: Path, shapes: tuple[Any, Any]) -> None:
    """Neither takes a byte in the file: chunks that were never written are as good as zeros."""
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        write_numbers(file)
        for name, shape in zip(("kernel", "bias"), shapes, strict=True):
            if shape is not None:
                file.create_dataset(f"dense/dense/{name}", shape, np.float32, chunks=True)
    assert (tmp_path / "huge.h5").stat().st_size < 4 << 20
    with pytest.raises(InputError, match="dense/kernel and its bias are no classifier of at most 100000 classes"):
        read_keras(tmp_path / "huge.h5", "timm")


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"class_name": "BatchNormalization", "config": "epsilon"},
        {"class_name": "BatchNormalization", "config": None},
        describe({"class_name": "BatchNormalization", "config": {"name": "bn_Conv1", "epsilon": [1]}}),
        describe({"class_name": "BatchNormalization", "config": {"name": ["bn_Conv1"], "epsilon": 1}}),
    ],
)
def test_descriptions_that_are_none_say_so(tmp_path: Path, config: Any) -> None:
    with pytest.raises(InputError, match="cannot be read as a Keras file"):
        read_keras(write_archive(tmp_path / "x.keras", config), "timm")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_damaged_files_are_read_or_refused(tmp_path: Path, suffix: str) -> None:
    sound = write_archive(tmp_path / "sound.keras", describe()).with_suffix(suffix).read_bytes()
    generator = np.random.default_rng(4)
    refused = 0
    for number in range(60):
        changed = bytearray(sound[: int(generator.integers(len(sound)))] if number % 3 == 0 else sound)
        for position in generator.integers(0, min(len(changed), 20_000) + 1, number % 3 * 6):
            changed[position] ^= 1 << int(generator.integers(8))
        (tmp_path / f"damaged{suffix}").write_bytes(changed)
        try:
            read_keras(tmp_path / f"damaged{suffix}", "timm")
        except InputError:
            refused += 1
    assert refused > 20
