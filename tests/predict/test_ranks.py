"""Two processes predict each path once, in order; the first alone reads standard input and writes."""

import csv
import os
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, ONE_THREAD
from predicting import OPTIONS, predict


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_two_processes_give_what_one_gives(workplace: Path) -> None:
    (workplace / "bad.png").write_bytes(b"no image")
    paths = sorted(str(path.relative_to(workplace)) for path in workplace.glob("photos/**/*.png"))
    listed = "\n".join([*paths[:5], "bad.png", *paths, "gone.png", *paths[:3]]).encode()  # 21 paths: 8 + 8 + 5
    words = ("-", "--ckpt_path", "best.ckpt", *OPTIONS)
    predict(*words, "--output", "one.csv", cwd=workplace, stdin=listed)
    ranks = ("--trainer.strategy", "ddp", "--trainer.devices", "2", "--output", "two.csv")
    done = subprocess.run(
        [*COMMAND, "predict", *words, *ranks],
        cwd=workplace,
        env={**os.environ, **ONE_THREAD},
        input=listed,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert done.stdout.decode().count("predictions: two.csv (19 images, 2 files could not be read") == 1
    one, two = read(workplace / "one.csv"), read(workplace / "two.csv")
    assert [row[:2] for row in two] == [row[:2] for row in one]
    numbers = [[float(cell) for row in rows[1:] for cell in row[2:]] for rows in (one, two)]
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-4, abs=1e-6)
    assert read(workplace / "two.errors.csv") == read(workplace / "one.errors.csv")
    assert not (workplace / "two.csv.partial").exists()
