"""What every augmentation has: a draw, an apply, and the two joined as a torchvision transform."""

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tl.augment.arguments import Interpolation, check_fill_value, check_name
from lightning_tl.augment.resample import FILL_MODES, INTERPOLATIONS, FillMode, resample
from lightning_tl.errors import InputError

Params = dict[str, Tensor]
"""What one transform has drawn for one batch; the first dimension of every tensor is the batch."""


def as_float(images: Tensor) -> Tensor:
    """Images in the type that augmentation computes in: float64 stays, all else becomes float32."""
    return images if images.dtype == torch.float64 else images.to(torch.float32)


def _is_image(value: object) -> bool:
    """A plain tensor or a ``tv_tensors.Image``; no box, mask or video."""
    return isinstance(value, tv_tensors.Image) or (
        isinstance(value, Tensor) and not isinstance(value, tv_tensors.TVTensor)
    )


class Augmentation(v2.Transform, ABC):  # type: ignore[misc]  # torchvision ships no types
    """A random transform of images whose draws come from outside, one set for each sample.

    A subclass says how many uniform numbers a sample needs (``draws``), turns them into parameters
    (``draw``) and applies parameters to images (``apply``). Constructor arguments are kept as attributes of
    the same name, those of ``**options`` too. Called as a torchvision transform it draws from torch's global generator.
    """

    draws: ClassVar[int]
    """Uniform numbers that one sample uses."""

    _transformed_types = (_is_image,)

    def __new__(cls, *placed: Any, **given: Any) -> Self:
        """Note which arguments are given by name: a signature does not tell those of ``**options``.

        Raises:
            InputError: some are given by place that the signature has no names for.
        """
        made: Self = super().__new__(cls)
        made.__dict__["_given"] = tuple(given)
        if len(placed) > len(arguments_of(cls)[0]):
            raise InputError(f"{cls.__name__}: give arguments by name, so that configs hold them. Received: {placed}.")
        return made

    @abstractmethod
    def draw(self, uniforms: Tensor) -> Params:
        """Turn uniform numbers into parameters.

        Args:
            uniforms: float in [0, 1), shape (batch, draws).

        Returns:
            Tensors of shape (batch, …), float ones in the type of ``uniforms``.
        """

    @abstractmethod
    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Transform images with given parameters.

        Args:
            images: uint8 or float in [0, 255], shape (batch, 3, height, width).
            params: as ``draw`` returns them.

        Returns:
            float32 (float64 for float64 images) in [0, 255], same shape.
        """

    def init_args(self) -> dict[str, Any]:
        """The constructor's arguments as plain numbers, strings and lists."""
        named, _ = arguments_of(type(self))
        values = {name: getattr(self, name) for name in (*named, *self.__dict__["_given"])}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def to_config(self) -> dict[str, Any]:
        """``{"class_path": …, "init_args": {…}}``, from which ``from_config`` builds an equal transform."""
        module = type(self).__module__
        package = __package__ if module.startswith(f"{__package__}.") else module
        return {"class_path": f"{package}.{type(self).__qualname__}", "init_args": self.init_args()}

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse what would otherwise pass through unchanged beside a changed image.

        Raises:
            InputError: no image tensor is given, or boxes, masks, videos or Pillow images are.
        """
        name = type(self).__name__
        foreign = [value for value in flat_inputs if isinstance(value, tv_tensors.TVTensor)]
        foreign = [value for value in foreign if not isinstance(value, tv_tensors.Image)]
        if foreign:
            raise InputError(f"{name} transforms images alone. Received: {type(foreign[0]).__name__}.")
        if not any(_is_image(value) for value in flat_inputs):
            kinds = ", ".join(sorted({type(value).__name__ for value in flat_inputs})) or "nothing"
            raise InputError(f"{name} needs an image tensor; put v2.ToImage() before it. Received: {kinds}.")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw from torch's global generator: one set for each sample of the first image tensor."""
        images = flat_inputs[0]
        if images.ndim not in (3, 4):
            raise InputError(
                f"{type(self).__name__} takes images of shape (3, height, width) or (batch, 3, height, "
                f"width). Received: {tuple(images.shape)}."
            )
        batch = images.shape[0] if images.ndim == 4 else 1
        return self.draw(torch.rand(batch, self.draws, device=images.device))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply ``params`` to one image (3, height, width) or a batch of them."""
        images = inpt.as_subclass(Tensor)
        result = self.apply(images if images.ndim == 4 else images[None], params)
        result = result if images.ndim == 4 else result[0]
        return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.Image) else result


class Geometric(Augmentation):
    """An augmentation that moves pixels: an affine matrix and a rule for what lies outside the image.

    Args:
        fill_mode: what lies outside: ``reflect`` (d c b a | a b c d | d c b a), ``constant``
            (k k k k | a b c d | k k k k), ``nearest`` (a a a a | a b c d | d d d d) or ``wrap``
            (a b c d | a b c d | a b c d).
        interpolation: ``bilinear`` or ``nearest``.
        fill_value: the k of ``constant``, any number; pixels are in [0, 255].
    """

    def __init__(
        self,
        fill_mode: FillMode = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.fill_mode = check_name(self, "fill_mode", fill_mode, FILL_MODES)
        self.interpolation = check_name(self, "interpolation", interpolation, INTERPOLATIONS)
        self.fill_value = check_fill_value(self, fill_value)

    @abstractmethod
    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        """The map from pixel coordinates (x, y, 1) of the output to those of the input.

        Pixel centres have whole numbers; the first one is (0, 0).

        Returns:
            shape (batch, 3, 3), in the type of the parameters.
        """

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Resample images by the matrix of ``params``; see ``Augmentation.apply``."""
        images = as_float(images)
        params = as_type(params, images.dtype)
        matrix = self.matrix(params, *images.shape[-2:])
        return resample(images, matrix, self.fill_mode, self.fill_value, self.interpolation, precise=True)


def as_type(params: Params, dtype: torch.dtype) -> Params:
    """Float parameters in the type of the images, so that float64 images get float64 matrices."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in params.items()}


def arguments_of(cls: type[Augmentation]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The constructor's named arguments, and whether it takes others beside them."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()  # the first is self
    kinds = {parameter.kind for parameter in parameters}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {parameter.name: parameter for parameter in parameters if parameter.kind not in several}
    return named, inspect.Parameter.VAR_KEYWORD in kinds


def affine(x_row: tuple[Any, Any, Any], y_row: tuple[Any, Any, Any], like: Tensor) -> Tensor:
    """Stack two rows, each of tensors (batch,) or numbers, into matrices (batch, 3, 3)."""
    entries = [torch.zeros_like(like) + entry for entry in (*x_row, *y_row, 0.0, 0.0, 1.0)]
    return torch.stack(entries, dim=-1).reshape(-1, 3, 3)
