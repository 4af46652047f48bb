"""Changes of colour with given amounts, as Keras computes them; images are float (batch, 3, height, width).

Amounts have shape (batch,), ``value_range`` is the darkest and the brightest value a pixel may have, and
results stay inside it.
"""

import torch
from torch import Tensor

ValueRange = tuple[float, float]


def adjust_brightness(images: Tensor, delta: Tensor, value_range: ValueRange) -> Tensor:
    """Add ``delta``, in the units of the pixels."""
    return (images + _per_image(delta, images)).clamp(*value_range)


def adjust_contrast(images: Tensor, factor: Tensor, value_range: ValueRange) -> Tensor:
    """Scale the distance to the mean of each channel by ``factor``; 1 changes nothing."""
    mean = images.mean(dim=(-2, -1), keepdim=True)
    return ((images - mean) * _per_image(factor, images) + mean).clamp(*value_range)


def adjust_saturation(images: Tensor, factor: Tensor, value_range: ValueRange) -> Tensor:
    """Scale HSV's saturation by ``factor``; 0 is grey, 1 changes nothing.

    differs: Keras cuts saturation at the ends of ``value_range``, so in [0, 255] a factor above 1 can give
    saturations up to 255 and colours far below 0; here 1 is the most there is, as in Keras for [0, 1].
    """
    hue, saturation, value = rgb_to_hsv(images)
    saturation = (saturation * _per_image(factor, images)[:, 0]).clamp(0.0, 1.0)
    return hsv_to_rgb(hue, saturation, value).clamp(*value_range)


def adjust_hue(images: Tensor, turn: Tensor, value_range: ValueRange) -> Tensor:
    """Turn the hue by ``turn``, a fraction of the colour circle, forwards or back."""
    low, high = value_range
    hue, saturation, value = rgb_to_hsv((images - low) / (high - low))
    rgb = hsv_to_rgb(hue + _per_image(turn, images)[:, 0], saturation, value)
    return rgb.clamp(0.0, 1.0) * (high - low) + low


def rgb_to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in [0, 1), saturation in [0, 1] and value, each (batch, height, width).

    Value has the unit of the images, which must not be negative. Where several channels are the largest,
    red goes before green before blue; grey has hue 0.
    """
    red, green, blue = images.unbind(dim=1)
    value, spread = images.amax(dim=1), images.amax(dim=1) - images.amin(dim=1)
    divisor = torch.where(spread > 0, spread, 1.0)
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0),
    )
    hue = torch.where(spread > 0, torch.remainder(sixths / 6.0, 1.0), 0.0)
    return hue, spread / torch.where(value > 0, value, 1.0), value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of ``rgb_to_hsv``; hue may be any number of turns. Returns (batch, 3, height, width)."""
    sixths = torch.remainder(hue, 1.0) * 6.0
    red = (torch.abs(sixths - 3.0) - 1.0).clamp(0.0, 1.0)
    green = (2.0 - torch.abs(sixths - 2.0)).clamp(0.0, 1.0)
    blue = (2.0 - torch.abs(sixths - 4.0)).clamp(0.0, 1.0)
    pure = torch.stack((red, green, blue), dim=1)
    saturation, value = saturation[:, None], value[:, None]
    return value * (1.0 - saturation + saturation * pure)


def _per_image(amount: Tensor, images: Tensor) -> Tensor:
    """Shape (batch, 1, 1, 1), in the type of the images."""
    return amount.to(images.dtype)[:, None, None, None]
