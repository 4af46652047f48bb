"""What competes: a name, a precision, the runner that drives it, and its options."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

Precision = Literal["float32", "mixed"]
"""``mixed`` is bfloat16 arithmetic on float32 weights."""


@dataclass(frozen=True)
class Framework:
    """A competitor.

    Attributes:
        name: for people; one name with two precisions is two competitors.
        precision: float32 or mixed.
        runner: module of ``benchmarks.runners``.
        options: the runner's; for lightning-tl, constructor arguments, each given to whichever takes it.
        settings: of the run that are different for this one.
        needs: module that must be installed.
    """

    name: str
    precision: Precision
    runner: str
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    needs: str = "torch"

    @property
    def key(self) -> str:
        """Unique in a run."""
        return f"{self.name} {self.precision}"

    @property
    def installed(self) -> bool:
        """Whether what it needs can be imported here."""
        return find_spec(self.needs) is not None

    @property
    def family(self) -> str:
        """``lightning-tl``, ``keras``, ``plain-lightning``, ``fastai`` or ``ceiling``."""
        return {"ours": "lightning-tl", "keras_recipe": "keras", "bare": "ceiling"}.get(
            self.runner, self.runner.removesuffix("_recipe").replace("_", "-")
        )


def _both(name: str, runner: str, options: dict[str, Any] | None = None, needs: str = "torch") -> list[Framework]:
    return [Framework(name, precision, runner, options or {}, needs=needs) for precision in ("float32", "mixed")]


FRAMEWORKS: tuple[Framework, ...] = (
    *_both("lightning-tl", "ours", {"compile": False}),
    *_both("lightning-tl compiled", "ours", {"compile": True}),
    *_both("keras-tensorflow", "keras_recipe", {"backend": "tensorflow"}, "tensorflow"),
    *_both("keras-jax", "keras_recipe", {"backend": "jax"}, "jax"),
    *_both("keras-torch", "keras_recipe", {"backend": "torch"}),
    *_both("plain-lightning", "plain_lightning"),
    Framework("fastai", "float32", "fastai_recipe", needs="fastai"),
)
QUICK = (
    "lightning-tl float32", "lightning-tl mixed", "keras-tensorflow float32", "keras-torch float32",
    "plain-lightning float32",
)  # fmt: skip
"""What a quick run takes: the rest compiles for long, or is slow; see ``quick``."""

CEILINGS: tuple[Framework, ...] = (
    *_both("ceiling", "bare", {"compile": False}),
    *_both("ceiling compiled", "bare", {"compile": True}),
)


def quick(bfloat16: bool) -> list[str]:
    """The keys that a quick run takes; ``bfloat16``: whether the machine computes in it, as imitating it is slow."""
    return [key for key in QUICK if bfloat16 or not key.endswith("mixed")]


def select(names: Sequence[str]) -> list[Framework]:
    """The frameworks of these names (``keras-torch``) or keys (``keras-torch mixed``), in the table's order.

    Raises:
        ValueError: a name that is in no table.
    """
    unknown = [name for name in names if not any(name in (f.name, f.key) for f in FRAMEWORKS)]
    if unknown:
        known = ", ".join(dict.fromkeys(f.name for f in FRAMEWORKS))
        raise ValueError(f"--frameworks: {', '.join(unknown)} is unknown. Known: {known}; add ' mixed' or ' float32'.")
    return [f for f in FRAMEWORKS if f.name in names or f.key in names]
