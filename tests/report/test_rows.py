"""CSV files come back as they were written; what is no such file is refused in one message."""

from pathlib import Path

import pytest
from reported import CLASSES, rows_of, write_metrics, write_run

from lightning_tl.errors import InputError
from lightning_tl.report.rows import read_metrics, read_predictions, read_split

EVIL = ("=1+1", "'quoted", 'a,"b"\nc', "\r=2", "x" * 255)


def test_guarded_names_come_back(tmp_path: Path) -> None:
    rows = rows_of(EVIL, each=2)
    run = write_run(tmp_path / "run", rows, EVIL)
    found = read_predictions(run / "predictions.csv", EVIL)
    assert [(p.split, p.path, p.label, p.predicted) for p in found] == [row[:4] for row in rows]
    assert [p.confidence for p in found] == pytest.approx([row[4] for row in rows])
    assert [p.hit for p in found] == [True, False] * len(EVIL)
    wrong = found[1]
    assert wrong.of_truth == pytest.approx((1 - wrong.confidence) / 4)
    assert [sample[1] for sample in read_split(run / "split.csv") or ()] == [row[1] for row in rows]


def test_training_and_validation_of_an_epoch_are_joined(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.csv", 3)
    epochs = read_metrics(tmp_path / "metrics.csv")
    assert [epoch.number for epoch in epochs] == [0, 1, 2]
    expected = {"val_accuracy": 0.68, "val_loss": 0.32, "train_accuracy": 0.63, "train_loss": 0.37}
    assert epochs[1].values == pytest.approx(expected)


def test_metrics_of_a_diverged_run_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,val_loss,val_accuracy\n0,1,nan,0.5\n1,2,inf,\n")
    assert [epoch.values for epoch in read_metrics(tmp_path / "metrics.csv")] == [{"val_accuracy": 0.5}, {}]
    assert read_metrics(tmp_path / "none.csv") == ()
    assert read_split(tmp_path / "none.csv") is None


def test_the_last_value_of_an_epoch_counts(tmp_path: Path) -> None:
    """As where an epoch has several validations, or a run was resumed in it."""
    text = "epoch,step,val_loss,train_loss\n0,1,0.5,\n0,2,0.25,\n0,2,,0.75\n0,3,nan,\n"
    (tmp_path / "metrics.csv").write_text(text)
    (epoch,) = read_metrics(tmp_path / "metrics.csv")
    assert epoch.values == {"val_loss": 0.25, "train_loss": 0.75}


def test_rows_without_an_epoch_are_left_out(tmp_path: Path) -> None:
    """As Lightning's ``LearningRateMonitor`` has them written."""
    (tmp_path / "metrics.csv").write_text("epoch,lr-Adam,step,val_loss\n,0.001,0,\n0,,1,0.5\n,0.001,2,\n1,,3,0.25\n")
    epochs = read_metrics(tmp_path / "metrics.csv")
    assert [(epoch.number, epoch.values) for epoch in epochs] == [(0, {"val_loss": 0.5}), (1, {"val_loss": 0.25})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with split,path,label,predicted"),
        ("split,path,label,predicted,probability_daisy\n", "one column probability_<class> for each class"),
        ("HEADER\nval,a,daisy,rose,0.5\n", "line 2: expected 7 fields. Received: 5"),
        ("HEADER\nval,a,daisy,oak,0.5,0.2,0.3\n", "line 2: results.json knows no class 'oak'"),
        ("HEADER\nval,a,daisy,rose,0.5,x,0.3\n", "line 2: a number is needed. Received: 'x'"),
        ("HEADER\nval,a,daisy,rose,0.5,inf,0.3\n", r"line 2: probabilities are in \[0, 1\]. Received: inf"),
        ('HEADER\nval,"a,daisy\n', "is no valid CSV"),
    ],
)
def test_what_is_no_predictions_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    header = ",".join(["split,path,label,predicted", *(f"probability_{name}" for name in CLASSES)])
    path = tmp_path / "predictions.csv"
    path.write_text(text.replace("HEADER", header))
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(path, CLASSES)
    assert str(path) in str(caught.value)


def test_probabilities_of_a_run_that_diverged_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    header = ",".join(["split,path,label,predicted", *(f"probability_{name}" for name in CLASSES)])
    path.write_text(f"{header}\nval,a,daisy,rose,nan,nan,nan\n")
    (row,) = read_predictions(path, CLASSES)
    assert (row.confidence, row.of_truth, row.hit) == (0.0, 0.0, False)


def test_other_files_are_refused_too(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"needs a column epoch. Received: 'a,b'"):
        read_metrics(tmp_path / "bad.csv")
    with pytest.raises(InputError, match=r"must begin with split,path,label. Received: 'a,b'"):
        read_split(tmp_path / "bad.csv")
