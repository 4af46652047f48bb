"""What checkpoint files are believed, and that none of them can run code."""

import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_tl import InputError
from lightning_tl.checkpoint import find_info, read_info

CONTENT: dict[str, Any] = {
    "global_step": 7,
    "hyper_parameters": {"class_names": ["ant", "bee"], "image_size": [48, 64]},
    "datamodule_hyper_parameters": {"root": "images", "image_size": 32, "batch_size": 8},
    "state_dict": {"weight": torch.arange(300.0)},
}
BAD = "ckpt_path: not a checkpoint of lightning-tl, or a damaged one"


def write(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**CONTENT, **changes}, path)
    return path


def test_a_checkpoint_tells_of_its_run(tmp_path: Path) -> None:
    info = read_info(write(tmp_path / "good.ckpt"))
    assert (info.class_names, info.global_step) == (("ant", "bee"), 7)
    assert info.data == {"root": "images", "image_size": 32}
    info.require_classes(["ant", "bee"])
    with pytest.raises(InputError, match="knows the classes ant, bee; the data has bee, ant"):
        info.require_classes(["bee", "ant"])


def test_the_image_size_is_the_models_where_loaders_have_left_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "loaders.ckpt"
    torch.save({name: value for name, value in CONTENT.items() if name != "datamodule_hyper_parameters"}, path)
    assert read_info(path).data == {"image_size": [48, 64]}


@pytest.mark.parametrize(
    ("dataset", "foreign"),
    [
        (None, False),
        ("Flowers102", False),
        ("torchvision.datasets.Flowers102", False),
        ("lightning_tl.data.digits.Digits", False),
        ("os.system", True),
    ],
)
def test_a_data_set_of_others_is_not_taken_from_a_file(tmp_path: Path, dataset: str | None, foreign: bool) -> None:
    settings = {"root": "store", "image_size": 32, "dataset": dataset, "dataset_args": {"x": 1}}
    info = read_info(write(tmp_path / "x.ckpt", datamodule_hyper_parameters=settings))
    assert info.data == ({"root": "store", "image_size": 32} if foreign else settings)
    if not foreign:
        info.warn_of_dataset("nobody is warned")
        return
    with pytest.warns(UserWarning, match=r"trained on 'os.system', .* not imported on the word of a file: do that\."):
        info.warn_of_dataset("do that.")


class Payload:
    """What a pickle may do: call anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["torch", "legacy torch", "pickle"])
def test_a_pickled_payload_is_refused_and_does_not_run(tmp_path: Path, kind: str) -> None:
    ran, path = tmp_path / "ran", tmp_path / "evil.ckpt"
    evil = {**CONTENT, "callbacks": Payload(ran)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(InputError, match=f"{BAD}.*pickled objects are never loaded. Received: .*evil.ckpt"):
        read_info(path)
    assert not ran.exists()
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert ran.exists(), "the payload works where it is let"


def test_a_function_named_in_the_hyperparameters_is_refused(tmp_path: Path) -> None:
    """Lightning's load_from_checkpoint would import and call it."""
    hparams = {**CONTENT["hyper_parameters"], "_instantiator": "os.system"}
    with pytest.raises(InputError, match="ckpt_path: the checkpoint asks for a function to be run"):
        read_info(write(tmp_path / "evil.ckpt", hyper_parameters=hparams))


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    for content in (b"", b"\x00" * 1000, b"no checkpoint"):
        other.write_bytes(content)
        with pytest.raises(InputError, match=BAD):
            read_info(other)
    torch.save({"weight": torch.zeros(3)}, other)
    with pytest.raises(InputError, match=rf"{BAD}. Received: .*other.ckpt \(KeyError: 'hyper_parameters'\)"):
        read_info(other)
    with (
        zipfile.ZipFile(write(other)) as archive,
        zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for part in archive.infolist():
            bomb.writestr(part.filename, archive.read(part))
    with pytest.raises(InputError, match=BAD):
        read_info(tmp_path / "bomb")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.ckpt").read_bytes()
    cut = tmp_path / "cut.ckpt"
    for size in random.Random(0).sample(range(len(whole)), 200):
        cut.write_bytes(whole[:size])
        with pytest.raises(InputError, match=BAD):
            read_info(cut)


def test_a_flipped_bit_is_found_or_of_no_consequence(tmp_path: Path) -> None:
    """Torch itself reads changed weights without a word; some bytes of an archive are mere padding."""
    path = write(tmp_path / "one.ckpt")
    whole, moments = path.read_bytes(), random.Random(0)
    found = 0
    for place in moments.sample(range(len(whole)), 400):
        content = bytearray(whole)
        content[place] ^= 1 << moments.randrange(8)
        path.write_bytes(content)
        try:
            info = read_info(path)
        except InputError:
            found += 1
        else:
            assert (info.class_names, info.global_step) == (("ant", "bee"), 7)
            assert torch.equal(torch.load(path)["state_dict"]["weight"], CONTENT["state_dict"]["weight"])
    assert found > 100


def test_a_damaged_last_checkpoint_is_answered_with_the_previous_one(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    previous = write(folder / "previous.ckpt", global_step=6)
    last = folder / "last.ckpt"
    last.write_bytes(previous.read_bytes()[:-100])
    with pytest.warns(
        UserWarning, match=rf"{BAD}.*last.ckpt.* Continuing from the checkpoint before it, .*previous.ckpt"
    ):
        assert find_info("last", tmp_path).global_step == 6
    previous.write_bytes(b"")
    with pytest.raises(
        InputError, match=r"Received: .*last.ckpt.*checkpoint before it, .*previous.ckpt, cannot be read"
    ):
        find_info("last", tmp_path)


def test_no_other_checkpoint_is_answered_with_the_previous_one(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "previous.ckpt")
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match=BAD):
        find_info("best", tmp_path)
