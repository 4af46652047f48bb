"""``lightning-tl predict PATH...``, from the words to the file."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from predicting import CLASSES, draw, go, predict_here, rows

from lightning_tl import TransferClassifier
from lightning_tl.data.decode import decode_image
from lightning_tl.data.folder import list_images
from lightning_tl.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")


def expected(workplace: Path, paths: list[str]) -> np.ndarray:
    """Probabilities by the model itself, one image at a time."""
    model = TransferClassifier.load_from_checkpoint(workplace / "best.ckpt", map_location="cpu", weights_only=True)
    model.eval()
    with torch.no_grad():
        return np.stack([model(decode_image(workplace / path)[None]).softmax(1)[0].numpy() for path in paths])


def test_folder_files_and_globs_in_one_command(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = go(workplace, "photos/03.png", "photos", "photos/*/0[12].png", "photos/03.png", "--output", "out/all.csv")
    header, *found = rows(workplace / "out" / "all.csv")
    monkeypatch.chdir(workplace)
    paths = ["photos/03.png", *list_images("photos"), "photos/more/01.png", "photos/more/02.png", "photos/03.png"]
    assert header == ["path", "predicted", "probability", *(f"probability_{name}" for name in CLASSES)]
    assert [row[0] for row in found] == paths
    values = expected(workplace, paths)
    np.testing.assert_allclose(np.array([row[3:] for row in found], dtype=np.float32), values, rtol=1e-4, atol=1e-6)
    assert [row[1] for row in found] == [CLASSES[label] for label in values.argmax(axis=1)]
    assert len({row[1] for row in found}) > 1, "a model that always says the same would show nothing"
    assert done.out == f"predictions: out/all.csv ({len(paths)} images)\n"
    assert {path.name for path in (workplace / "out").iterdir()} == {"all.csv"}
    assert not (workplace / "runs").exists()


def test_the_same_from_standard_input_in_every_format(workplace: Path) -> None:
    listed = b"photos/more/04.png\nphotos/00.png\nphotos/more/04.png\n"
    paths = listed.decode().split()
    predict_here("-", output="list.csv", top_k=2, stdin=listed, cwd=workplace)
    predict_here("-", output="list.jsonl", null=True, stdin=listed.replace(b"\n", b"\0"), cwd=workplace)
    predict_here(*paths, output="list.parquet", cwd=workplace)
    lines = [json.loads(line) for line in (workplace / "list.jsonl").read_text().splitlines()]
    table = pyarrow.parquet.read_table(workplace / "list.parquet").to_pylist()
    for row, line, record, path in zip(rows(workplace / "list.csv")[1:], lines, table, paths, strict=True):
        assert row[0] == line["path"] == record["path"] == path
        assert row[1] == line["predicted"] == record["predicted"] != row[3]
        assert float(row[2]) == line["probability"] == max(line["probabilities"].values())
        assert np.float32(row[2]) == np.float32(record["probability"])


def test_workers_and_batches_do_not_change_the_order(workplace: Path) -> None:
    predict_here("photos", output="one.jsonl", cwd=workplace)
    predict_here("photos", output="many.jsonl", data={"num_workers": 2, "batch_size": 3}, cwd=workplace)
    one, many = (
        [json.loads(line) for line in (workplace / f"{name}.jsonl").read_text().splitlines()]
        for name in ("one", "many")
    )
    assert [line["path"] for line in one] == [line["path"] for line in many]
    assert [line["probability"] for line in one] == pytest.approx([line["probability"] for line in many], rel=1e-4)


@pytest.mark.parametrize("fail", [False, True])
def test_unreadable_files_are_reported_and_the_rest_is_done(workplace: Path, fail: bool) -> None:
    messy = workplace / "messy"
    draw(messy, 5)
    (messy / "01.png").write_bytes(b"")
    (messy / "03.png").write_bytes((messy / "00.png").read_bytes()[:100])
    listed = b"messy/00.png\nmessy/01.png\nmessy\n=gone.png\nmessy/03.png\nmessy/04.png\n"
    request = {"output": f"{fail}.csv", "fail_on_unreadable": fail, "data": {"on_bad_image": "error"}}
    if fail:
        with pytest.raises(
            InputError, match=r"fail_on_unreadable: 4 of 6 files .*, as True.errors.csv tells; the others"
        ):
            predict_here("-", stdin=listed, cwd=workplace, **request)
    else:
        told = predict_here("-", stdin=listed, cwd=workplace, **request)
        assert told == "predictions: False.csv (2 images, 4 files could not be read: False.errors.csv)"
    assert [row[0] for row in rows(workplace / f"{fail}.csv")[1:]] == ["messy/00.png", "messy/04.png"]
    header, *bad = rows(workplace / f"{fail}.errors.csv")
    assert header == ["path", "reason"]
    assert [row[0] for row in bad] == ["messy/01.png", "messy", "'=gone.png", "messy/03.png"]
    assert [row[1] for row in bad[:3]] == ["it is empty", "it is a folder", "No such file or directory"]
    assert bad[3][1]


@pytest.mark.parametrize("output", ["empty.csv", "empty.jsonl", "empty.parquet"])
def test_an_empty_list_gives_an_empty_result(workplace: Path, output: str) -> None:
    assert predict_here("-", output=output, cwd=workplace) == f"predictions: {output} (0 images)"
    assert (workplace / output).is_file()


def test_nothing_but_unreadable_files(workplace: Path) -> None:
    told = predict_here("-", output="none.parquet", stdin=b"gone.png\n", cwd=workplace)
    assert told == "predictions: none.parquet (0 images, 1 file could not be read: none.errors.csv)"
    assert pyarrow.parquet.read_table(workplace / "none.parquet").num_rows == 0


def test_lines_on_standard_output_and_nothing_else(workplace: Path) -> None:
    done = go(workplace, "-", "--output", "-", "--top_k", "1", stdin=b"photos/01.png\ngone.png\nphotos/02.png\n")
    assert [json.loads(line)["path"] for line in done.out.splitlines()] == ["photos/01.png", "photos/02.png"]
    assert "'gone.png' cannot be read: No such file or directory" in done.err
    assert done.err.endswith("predictions: - (2 images, 1 file could not be read: standard error)\n")


def test_names_as_bad_as_they_get(workplace: Path) -> None:
    names = [
        b"=1+1.png",
        b"caf\xe9.png",
        b"new\nline\r.png",
        b"null",
        b"1e3.png",
        b"\"q', <b>.png",
        b"x" * 250 + b".png",
    ]
    folder = workplace / "hostile"
    folder.mkdir()
    for number, name in enumerate(names):
        shutil.copy(workplace / "photos" / f"0{number % 6}.png", os.fsencode(folder) + b"/" + name)
    paths = [f"hostile/{os.fsdecode(name)}" for name in names]
    predict_here(*paths, output="hostile.csv", cwd=workplace)
    predict_here("-", null=True, output="again.csv", stdin=b"\0".join(map(os.fsencode, paths)), cwd=workplace)
    assert [row[0] for row in rows(workplace / "hostile.csv")[1:]] == paths
    assert (workplace / "again.csv").read_bytes() == (workplace / "hostile.csv").read_bytes()
    output = os.fsdecode(b"outp\xfft.jsonl")
    done = go(workplace, "--output", output, "--", "hostile", "hostile/null", "hostile/1e3.png")
    assert done.out == "predictions: outp\\udcfft.jsonl (8 images)\n"
    assert (workplace / output).read_text().count("\n") == 8, "null has no suffix of an image"
