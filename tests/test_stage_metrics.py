"""What an epoch adds up to."""

import pytest
import torch

from lightning_tl.stage_metrics import BatchMean, StageMetrics


def test_the_loss_is_the_mean_over_samples() -> None:
    metrics = StageMetrics("val", 2)
    for value, count in ((1.0, 3), (2.0, 1)):
        metrics.update(torch.tensor([[2.0, 1.0]] * count), torch.zeros(count, dtype=torch.int64), torch.tensor(value))
    metrics.update(torch.empty(0, 2), torch.empty(0, dtype=torch.int64), torch.tensor(float("nan")))
    values = {name: float(metric.compute()) for name, metric in metrics.named()}
    assert values == pytest.approx({"val_loss": 1.25, "val_accuracy": 1.0, "val_f1": 1.0})


def test_a_batch_that_diverged_is_not_left_out_of_the_mean() -> None:
    """Checkpoints, schedules and early stopping would take the rest for an improvement."""
    mean = BatchMean()
    for value in (1.0, float("nan"), 1.0):
        mean.update(torch.tensor(value, dtype=torch.bfloat16), 4)
    assert mean.compute().isnan()
    mean.reset()
    mean.update(torch.tensor(0.5), 4)
    assert float(mean.compute()) == 0.5
