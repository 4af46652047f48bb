"""Zoom images at random."""

from typing import ClassVar

from torch import Tensor

from lightning_tl.augment.arguments import Factor, Interpolation, check_factor, factor_range
from lightning_tl.augment.base import Geometric, Params, affine
from lightning_tl.augment.resample import FillMode


class RandomZoom(Geometric):
    """Zooms each image about its centre by a factor of its own; Keras' ``RandomZoom``.

    Args:
        height_factor: fraction of the height, in (-1, 1]; 0.1 draws the zoom from [0.9, 1.1], a pair (a, b)
            from [1 + a, 1 + b]. A zoom above 1 zooms out (the image gets smaller), below 1 in.
        width_factor: the same for the width; None takes the height's draw and keeps the aspect ratio.
        fill_mode: reflect, constant, nearest or wrap; see ``Geometric``.
        interpolation: bilinear or nearest.
        fill_value: of ``constant``, any number; pixels are in [0, 255].

    Raises:
        InputError: an argument is outside its range.
    """

    draws: ClassVar[int] = 2

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: FillMode = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value)
        self.height_factor = check_factor(self, "height_factor", height_factor, -1.0, 1.0, open_low=True)
        if width_factor is not None:
            width_factor = check_factor(self, "width_factor", width_factor, -1.0, 1.0, open_low=True)
        self.width_factor = width_factor

    def draw(self, uniforms: Tensor) -> Params:
        """Draw 0 is ``height_zoom``, draw 1 ``width_zoom`` (unused without width_factor), each (batch,)."""
        height_zoom = _zoom(self.height_factor, uniforms[:, 0])
        if self.width_factor is None:
            return {"height_zoom": height_zoom, "width_zoom": height_zoom}
        return {"height_zoom": height_zoom, "width_zoom": _zoom(self.width_factor, uniforms[:, 1])}

    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        """Zoom: x' = z·x + (W-1)/2·(1-z), and likewise y; see ``Geometric.matrix``."""
        x, y = params["width_zoom"], params["height_zoom"]
        x_offset, y_offset = 0.5 * (width - 1) * (1.0 - x), 0.5 * (height - 1) * (1.0 - y)
        return affine((x, 0.0, x_offset), (0.0, y, y_offset), like=x)


def _zoom(factor: Factor, uniforms: Tensor) -> Tensor:
    """Uniform in 1 + the factor's range."""
    lower, upper = factor_range(factor, -1.0)
    return uniforms * (upper - lower) + (1.0 + lower)
