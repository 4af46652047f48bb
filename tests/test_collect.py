"""Predictions that come from processes of their own."""

from pathlib import Path

import torch
from training import draw_images, make_data, make_model, make_trainer

from lightning_tl.collect import predict_all


def test_spawned_processes_leave_the_model_with_the_weights_that_have_predicted(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images", count=5))
    model = make_model(data)
    here = make_trainer(tmp_path)
    expected = predict_all(here, model, tmp_path, dataloaders=[data.val_dataloader()])
    best = tmp_path / "best.ckpt"
    here.save_checkpoint(best)
    with torch.no_grad():
        model.head.weight.zero_()
    elsewhere = make_trainer(tmp_path, strategy="ddp_spawn", devices=1)
    options = {"dataloaders": [data.val_dataloader()], "ckpt_path": str(best), "weights_only": True}
    predictions = predict_all(elsewhere, model, tmp_path, **options)
    assert predictions.index.tolist() == expected.index.tolist()
    torch.testing.assert_close(predictions.probabilities, expected.probabilities)
    state = torch.load(best, weights_only=True)["state_dict"]
    assert model.head.weight.abs().max() > 0
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not list(tmp_path.glob(".*"))
