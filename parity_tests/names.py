"""Tensors of ours under Keras' names, in Keras' layout.

The transpositions are written here again, apart from the name table's, so that a mistake there shows.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from lightning_tl.keras_layers import Library, name_table
from parity_tests.processes import Arrays


def to_keras(tensors: Mapping[str, Tensor], library: Library, alpha: float) -> Arrays:
    """Those of ``tensors`` (by their names in a TransferClassifier) that Keras has, as ``layer/variable``."""
    names = {f"backbone.net.{row.torch}": row.keras for row in name_table(library, alpha)}
    names |= {"head.weight": "head/kernel", "head.bias": "head/bias"}
    return {names[name]: _layout(names[name], tensor) for name, tensor in tensors.items() if name in names}


def state(module: nn.Module, library: Library, alpha: float) -> Arrays:
    """Every parameter and moving statistic of a TransferClassifier, as ``layer/variable``."""
    return to_keras({**dict(module.named_parameters()), **dict(module.named_buffers())}, library, alpha)


def _layout(name: str, tensor: Tensor) -> np.ndarray:
    """(out, in, h, w) to (h, w, in, out); depthwise (C, 1, h, w) to (h, w, C, 1); (out, in) to (in, out)."""
    array = tensor.detach().numpy().copy()
    if array.ndim == 4:
        return array.transpose(2, 3, 0, 1) if "depthwise" in name else array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array
