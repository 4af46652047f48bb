"""The backbone through ``torch.compile``, for batches of one size, where there is a compiler."""

import warnings
from typing import Any

import torch
from torch import Tensor

from lightning_tl.backbone import Backbone
from lightning_tl.plainly import up_to_date


class CompiledBackbone:
    """Calls a backbone compiled or plainly, whichever works.

    A graph is compiled for the largest batch seen, in training whatever evaluation has seen; the last, smaller batch of
    an epoch takes the plain path rather than another compilation. Training, evaluation and each phase have graphs of
    their own. Where compiling fails, for want of a compiler or of support for a layer, all is computed plainly from
    then on, after one warning.

    Args:
        backbone: whose ``forward`` to compile; weights and folded weights are looked up anew in every call.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.works = True
        self._compiled: Any = None
        self._largest = {True: 0, False: 0}

    def __call__(self, images: Tensor) -> Tensor:
        """Features (batch, num_features) of images, as ``Backbone.forward``."""
        if not self.works or torch.compiler.is_compiling() or not self._is_full(len(images)):
            return self.backbone(images)  # type: ignore[no-any-return]
        if self._compiled is None:
            self._compiled = torch.compile(self.backbone, dynamic=False)
        self.backbone.fold()  # compiled code cannot look at what has changed
        try:
            with up_to_date():
                return self._compiled(images)  # type: ignore[no-any-return]
        except Exception as error:  # compilers raise anything; if the network itself is at fault, the next line says so
            features: Tensor = self.backbone(images)
            self.works = False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"model.compile: torch.compile failed, the run goes on without it ({reason}).", stacklevel=2)
            return features

    def _is_full(self, size: int) -> bool:
        """Whether no batch so far was larger; in evaluation, none of training either."""
        training = not torch.is_inference_mode_enabled()
        self._largest[training] = max(self._largest[training], size)
        return size == (self._largest[True] if training else max(self._largest.values()))

    def __getstate__(self) -> dict[str, Any]:
        """Compiled code does not travel to other processes."""
        return {**self.__dict__, "_compiled": None}
