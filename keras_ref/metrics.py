"""Macro F1 as a metric of training.

differs: lightning_tl takes torchmetrics' MulticlassF1Score. Keras' F1Score wants one-hot labels and counts a class
that is neither there nor predicted as 0, which the mean here leaves out.
"""

from typing import Any

import keras
from keras import ops


class MacroF1(keras.metrics.Metric):  # type: ignore[misc]  # keras ships no types
    """Mean of the classes' F1, 2 hits / (predicted + true), over the classes that are there or predicted.

    Args:
        classes: their number.
        name: key in the logs.
    """

    def __init__(self, classes: int, name: str = "f1") -> None:
        super().__init__(name=name)
        self.classes = classes
        self.hits = self.add_variable((classes,), "zeros", name="hits")
        self.total = self.add_variable((classes,), "zeros", name="total")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: labels, (batch,) or (batch, 1), or one-hot, (batch, classes).
            y_pred: probabilities, (batch, classes).
            sample_weight: ignored, as lightning_tl's metrics do.
        """
        one_hot = len(y_true.shape) == 2 and y_true.shape[-1] == self.classes
        labels = ops.argmax(y_true, axis=-1) if one_hot else ops.reshape(y_true, (-1,))
        true, predicted = (ops.one_hot(i, self.classes) for i in (labels, ops.argmax(y_pred, axis=-1)))
        self.hits.assign_add(ops.cast(ops.sum(true * predicted, axis=0), self.dtype))
        self.total.assign_add(ops.cast(ops.sum(true + predicted, axis=0), self.dtype))

    def result(self) -> Any:
        """The mean so far."""
        there = ops.cast(self.total > 0, self.dtype)
        return ops.sum(2 * self.hits / ops.maximum(self.total, 1)) / ops.maximum(ops.sum(there), 1)
