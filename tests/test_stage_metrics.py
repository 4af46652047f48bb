"""What an epoch adds up to."""

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassF1Score

from lightning_tl.stage_metrics import BatchMean, MacroF1, StageMetrics


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_an_epoch_is_summed_in_float32_whatever_the_modules_precision(dtype: torch.dtype) -> None:
    """bfloat16 counts no further than 256, and float16 to 65504."""
    metrics = StageMetrics("val", 2).to(dtype)
    for _ in range(2):
        for _ in range(3000):
            metrics.loss.update(torch.tensor(0.5, dtype=dtype), 32)
        assert metrics.loss.weight.dtype == torch.promote_types(dtype, torch.float32)
        assert float(metrics.loss.weight) == 96_000
        assert float(metrics.loss.compute()) == 0.5
        metrics.loss.reset()


@pytest.mark.parametrize("absent", [False, True])
def test_f1_counts_what_the_library_counts(absent: bool) -> None:
    """``absent``: a class that neither is there nor is predicted."""
    random = torch.Generator().manual_seed(0)
    ours, theirs = MacroF1(4), MulticlassF1Score(4, average="macro")
    for _ in range(3):
        logits = torch.randn(9, 4, generator=random).round()  # with ties
        logits[:, 3] -= 100 * absent
        labels = torch.randint(0, 4 - absent, (9,), generator=random)
        ours.update(logits, labels)
        theirs.update(logits, labels)
    for name in ("tp", "fp", "fn"):
        assert torch.equal(ours.metric_state[name], theirs.metric_state[name]), name
    assert torch.equal(ours.compute(), theirs.compute())


def test_sums_of_a_batch_read_nothing_of_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that did would go on reading them where they are no more."""
    random = torch.Generator().manual_seed(0)
    batches = [(torch.randn(6, 3, generator=random), torch.arange(6) % 3, torch.tensor(0.5 + n)) for n in range(3)]
    whole, summed = StageMetrics("train", 3), StageMetrics("train", 3)
    assert whole.sums_alone
    for of in batches:
        whole.update(*of)
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "__deepcopy__", None)
            sums = summed.sums_of(*of)
        summed.add(sums)
    for (name, wanted), (_, found) in zip(whole.named(), summed.named(), strict=True):
        assert wanted.update_count == found.update_count == 3
        assert torch.equal(wanted.compute(), found.compute()), name


def states(metrics: StageMetrics) -> list[dict[str, torch.Tensor]]:
    return [dict(metric.metric_state) for metric in metrics._in_checkpoint_order()]  # type: ignore[arg-type]


def test_other_ranks_than_before_go_on_with_what_all_have_added_up() -> None:
    """Each batch counts once, however many ranks there were and are."""
    random = torch.Generator().manual_seed(0)
    whole, *before = (StageMetrics("train", 3) for _ in range(3))
    for number in range(5):
        logits, labels = torch.randn(4, 3, generator=random), torch.randint(0, 3, (4,), generator=random)
        for metrics in (whole, before[number % 2]):
            metrics.update(logits, labels, torch.tensor(1.0 + number))
    ranks_before = zip(*map(states, before), strict=True)
    saved = [{name: torch.stack([part[name] for part in parts]) for name in parts[0]} for parts in ranks_before]
    for ranks in (1, 2, 3):
        now = [StageMetrics("train", 3) for _ in range(ranks)]
        for rank, metrics in enumerate(now):
            metrics.restore(saved, rank, ranks, torch.device("cpu"))
        for wanted, *parts in zip(states(whole), *map(states, now), strict=True):
            for name, value in wanted.items():
                assert torch.equal(torch.stack([part[name] for part in parts]).sum(dim=0), value), (ranks, name)


def test_a_checkpoint_without_metrics_lets_them_begin_anew() -> None:
    """One that other code has written inside an epoch; what a fit before has left does not count."""
    batch = (torch.tensor([[2.0, 1.0]]), torch.tensor([0]), torch.tensor(0.5))
    new, used = StageMetrics("train", 2), StageMetrics("train", 2)
    used.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), torch.tensor(3.0))
    used.restore([], 0, 1, torch.device("cpu"))
    for metrics in (new, used):
        metrics.update(*batch)
    for wanted, found in zip(states(new), states(used), strict=True):
        assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_not_waited_for() -> None:
    metrics = StageMetrics("train", 3).cuda()
    logits, labels, loss = torch.randn(4, 3).cuda(), torch.arange(4).cuda() % 3, torch.ones(()).cuda()
    metrics.update(logits, labels, loss)
    torch.cuda.set_sync_debug_mode("error")
    try:
        metrics.update(logits, labels, loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")
