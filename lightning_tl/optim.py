"""Adam as Keras defines it, and optimizers built by class path."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from lightning_tl.errors import InputError

KERAS_EPSILON = 1e-7
"""Default epsilon of keras.optimizers.Adam (torch's is 1e-8)."""

OptimizerSpec = str | Mapping[str, Any]
"""A class path, or ``{"class_path": ..., "init_args": {...}}``."""


class KerasAdam(torch.optim.Adam):
    """``torch.optim.Adam`` with Keras' epsilon-hat, the form of Kingma and Ba's section 2.

    Keras updates ``p -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)``; torch divides ``v`` by its bias
    correction first, so the same update needs ``eps_t = eps / sqrt(1 - b2^t)`` at step t. Everything else,
    foreach and fused included, is torch's, but that ``fused`` is what a CPU and CUDA get unless an option says
    otherwise.

    Args:
        params: as for ``torch.optim.Adam``.
        lr: learning rate, Keras' default 1e-3.
        betas: decay of the first and second moment.
        eps: epsilon-hat, Keras' default 1e-7.
        **options: further arguments of ``torch.optim.Adam``.

    Raises:
        ValueError: not two betas, or what ``torch.optim.Adam`` does not take.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = KERAS_EPSILON,
        **options: Any,
    ) -> None:
        if len(betas) != 2:  # which torch unpacks at the first step
            raise ValueError(f"betas are two numbers, and not {len(betas)}")
        super().__init__(params, lr=lr, betas=betas, eps=eps, **options)
        # With this flag the scaler skips a step inside the fused kernel, where it could not be counted.
        self._step_supports_amp_scaling = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group that counts its own steps from 0."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        _choose_pass(group)
        group.setdefault("epsilon_hat", group["eps"])
        group.setdefault("steps", 0)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's; what a checkpoint of several passes holds is taken up in one, in each parameter's own layout."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            _choose_pass(group)
            for parameter in group["params"]:  # the fused kernel reads both in the order of memory
                state = self.state.get(parameter, {})
                if group["fused"] and "step" in state:  # and counts steps where it computes
                    state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=parameter.device)
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape != ():
                        state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; ``closure`` recomputes the loss, as in torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["steps"] += 1
            correction = 1.0 - group["betas"][1] ** group["steps"]
            group["eps"] = group["epsilon_hat"] / correction**0.5
        _adam_step(self)
        note_fused(self)
        return loss


def note_fused(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Count a step of fused kernels as a write to what it has changed, as torch does not.

    Folded weights and graphs go by that count, see ``lightning_tl.fingerprint``. Also a hook for
    ``register_step_post_hook``, for an optimizer of one's own.
    """
    fused = [group for group in optimizer.param_groups if group.get("fused")]
    increment_version([p for group in fused for p in group["params"] if p.grad is not None])


def _adam_step(optimizer: torch.optim.Adam) -> None:
    """The update alone: from the first Adam of a process on, ``Adam.step`` itself calls the hooks of a step."""
    step = torch.optim.Adam.step
    update = step.__wrapped__ if getattr(step, "hooked", False) else step  # type: ignore[attr-defined]
    update(optimizer)


def _choose_pass(group: dict[str, Any]) -> None:
    """Make ``fused`` what a group on the CPU or on CUDA does, where nothing else was asked for."""
    asked = group["foreach"] is not None or group["fused"] is not None
    if not (asked or group["capturable"] or group["differentiable"] or isinstance(group["lr"], Tensor)):
        group["fused"] = all(_can_be_fused(parameter) for parameter in group["params"]) or None


def _can_be_fused(parameter: Tensor) -> bool:
    return parameter.device.type in ("cpu", "cuda") and parameter.dtype in (torch.float32, torch.float64)


def build_optimizer(
    spec: OptimizerSpec, params: Iterable[Tensor], lr: float, where: str = "optimizer"
) -> torch.optim.Optimizer:
    """A fresh optimizer over ``params`` at learning rate ``lr`` (per step).

    Raises:
        InputError: ``spec`` names no optimizer, or the class refuses its arguments; ``where`` says whose it is.
    """
    path, options = _split(spec, where)
    cls = _import(path, where)
    try:
        optimizer = cls(params, lr=lr, **options)
    except (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        said = str(error) or type(error).__name__
        raise InputError(f"{where}: {path} does not take these init_args. Received: {options} ({said}).") from error
    if not isinstance(optimizer, KerasAdam):  # which does so itself
        optimizer.register_step_post_hook(note_fused)
    return optimizer


def _split(spec: OptimizerSpec, where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or "class_path" not in spec or set(spec) - {"class_path", "init_args"}:
        raise InputError(f"{where}: give a class path, or a mapping with class_path and init_args. Received: {spec!r}.")
    options = spec.get("init_args") or {}
    if not isinstance(options, Mapping):
        raise InputError(f"{where}: init_args is a mapping of arguments. Received: {options!r}.")
    if "lr" in options:
        raise InputError(f"{where}: the learning rate belongs to the phase's lr, not init_args. Received: {options}.")
    return str(spec["class_path"]), dict(options)


def _import(path: str, where: str) -> Callable[..., torch.optim.Optimizer]:
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{where}: no optimizer at this class path, for example torch.optim.SGD. Received: {path} ({error})."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise InputError(f"{where}: not a subclass of torch.optim.Optimizer. Received: {path}.")
    return cls
