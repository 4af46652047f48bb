"""The backbone through ``torch.compile``, for batches of one size, where there is a compiler."""

import warnings
from typing import Any

import torch
from torch import Tensor

from lightning_tl.backbone import Backbone
from lightning_tl.plainly import up_to_date


class CompiledBackbone:
    """Calls a backbone compiled or plainly, whichever works.

    A graph is compiled for the largest batch seen, of training and of evaluation each; the last, smaller batch of an
    epoch takes the plain path rather than minutes of compilation. Each phase has graphs of its own. Where compiling
    fails, for want of a compiler or of support for a layer, all is computed plainly from then on, after one warning.

    Args:
        backbone: whose ``forward`` to compile; weights and folded weights are looked up anew in every call.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.works = True
        self._compiled: Any = None
        self._sizes: dict[tuple[bool, bool], int] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Features (batch, num_features) of images, as ``Backbone.forward``."""
        if self._compiled is None:
            self._compiled = torch.compile(self.backbone, dynamic=False)
        stage = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self._sizes[stage] = max(self._sizes.get(stage, 0), len(images))
        if not self.works or len(images) < self._sizes[stage] or torch.compiler.is_compiling():
            return self.backbone(images)  # type: ignore[no-any-return]
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

    def __getstate__(self) -> dict[str, Any]:
        """Compiled code does not travel to other processes."""
        return {**self.__dict__, "_compiled": None}
