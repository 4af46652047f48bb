"""Where in its epochs a resumed run begins, which Lightning tells in many words."""

import lightning


def begins_inside_an_epoch(trainer: lightning.Trainer) -> bool:
    """Whether what is trained first, as ``on_train_start`` is called, belongs to an epoch begun before.

    Not after a checkpoint of an epoch's last batch: Lightning leaves out what was to come after it, and goes on with
    the next epoch; see ``skips_the_start_of_an_epoch``.
    """
    return trainer.fit_loop.restarted_mid_epoch and not skips_the_start_of_an_epoch(trainer)


def skips_the_start_of_an_epoch(trainer: lightning.Trainer) -> bool:
    """Whether an epoch is trained from its first batch on without a call of ``on_train_epoch_start``."""
    loop = trainer.fit_loop.epoch_loop
    over = loop.restarted_on_train_batch_end and loop.batch_progress.is_last_batch
    return trainer.fit_loop.restarted_mid_epoch and over
