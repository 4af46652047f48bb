"""The YAML that ``lightning-tl fit`` reads, as far as the reference needs it.

differs: dataclasses and a short parser, where lightning_tl uses LightningCLI. Keys that concern the speed of
lightning_tl alone are accepted and ignored.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from keras_ref.errors import InputError
from keras_ref.options import DataConfig, ModelConfig, at_home, check, number, whole
from keras_ref.phase import Phase, make_phases
from keras_ref.trainer import DEVICES, HARMLESS, NEUTRAL, WATCHING, check_trainer


@dataclass(frozen=True)
class Config:
    """A whole run.

    Attributes:
        model: the network and how it is trained.
        data: the images.
        phases: stretches of training, in order.
        seed: of split, order, initial weights, augmentation and dropout.
        root: the run folder, or where it goes.
        draws: ``keras``, Keras' own layers and random streams; ``shared``, the counter-based definition of
            docs/randomness.md, which lightning_tl uses.
        pictures: leave thumbnails, Grad-CAM overlays and augmented samples in the run folder, for its report.
    """

    model: ModelConfig
    data: DataConfig
    phases: tuple[Phase, ...]
    seed: int = 0
    root: str = "runs"
    draws: str = "keras"
    pictures: bool = True

    def __post_init__(self) -> None:
        seed = whole(self.seed, 0) and self.seed < 2**32  # as NumPy, TensorFlow and Lightning take them
        check(seed, "seed_everything", "an integer of 0 or more and below 2**32", self.seed)
        check(self.draws in ("keras", "shared"), "keras.draws", "keras or shared", self.draws)
        check(isinstance(self.pictures, bool), "pictures", "true or false", self.pictures)
        one_by_one = self.draws == "keras" or not self.model.fused or len(self.model.augment) < 2
        check(one_by_one, "model.fused", "false with keras.draws shared (Keras resamples one by one)", True)
        if self.draws == "shared":
            self._check_saturation()

    def _check_saturation(self) -> None:
        """From 0.5 on, where saturation is scaled up, Keras goes beyond full colour and lightning_tl ends there."""
        for item in self.model.augment:
            arguments = item.get("init_args") if isinstance(item, Mapping) else None
            factor = arguments.get("saturation_factor") if isinstance(arguments, Mapping) else None
            ends: Sequence[Any] = factor if isinstance(factor, Sequence) else (factor,)
            same = factor is None or all(number(end) and 0 <= end <= 0.5 for end in ends)
            wanted = (
                "with keras.draws shared a pair inside [0, 0.5], such as [0.2, 0.5] (Keras does not end at full colour)"
            )
            check(same, "model.augment: saturation_factor", wanted, factor)

    def to_yaml(self) -> str:
        """The config in the form that ``read_config`` and ``lightning-tl`` read."""
        values = {
            "seed_everything": self.seed,
            "model": {**asdict(self.model), "augment": [dict(item) for item in self.model.augment]},
            "data": asdict(self.data),
            "phases": [asdict(phase) for phase in self.phases],
            "trainer": {"default_root_dir": self.root},
            "keras": {"draws": self.draws},
            "pictures": self.pictures,
        }
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_config(
    path: str | Path, overrides: Mapping[str, str] | None = None, on_top: Sequence[str | Path] = ()
) -> Config:
    """Read a config, put others on top of it, and change single values.

    Args:
        path: of the YAML file.
        overrides: dotted key to YAML value, as ``{"data.root": "images"}``; names and paths are taken as they are.
        on_top: further YAML files; of each value the last one counts.

    Raises:
        InputError: a file cannot be read, a key is unknown, or a value is out of range.
    """
    values = _read(Path(path))
    for other in on_top:
        values |= {key: _on_top(values.get(key), value, key) for key, value in _read(Path(other)).items()}
    for key, text in (overrides or {}).items():
        _set(values, key, (text or None) if key in _TEXTS and text.strip() not in _NULLS else _parse(text, f"--{key}"))
    _check_keys(values, "", [*_BLOCKS, *_IGNORED])
    resumed = values.get("ckpt_path")
    check(resumed is None, "ckpt_path", "null (keras_ref cannot resume; start a new run)", resumed)
    trainer, keras_block = values.get("trainer") or {}, values.get("keras") or {}
    _check_keys(keras_block, "keras.", ["draws"])
    _check_keys(trainer, "trainer.", [*HARMLESS, *NEUTRAL, *DEVICES, *WATCHING, "max_epochs"])
    check(trainer.get("default_root_dir") != "", "trainer.default_root_dir", "a folder", "")
    phases = make_phases(values.get("phases") or ())
    data = DataConfig(**_known(values.get("data"), "data.", DataConfig))
    check_trainer(trainer, sum(phase.epochs for phase in phases), data.batch_size_is == "global")
    return Config(
        model=ModelConfig(**_known(values.get("model"), "model.", ModelConfig)),
        data=data,
        phases=phases,
        seed=values.get("seed_everything", Config.seed),
        root=at_home(str(trainer.get("default_root_dir") or Config.root)),
        draws=keras_block.get("draws", Config.draws),
        pictures=values.get("pictures", Config.pictures),
    )


_BLOCKS = ("seed_everything", "model", "data", "phases", "trainer", "keras", "checkpoint_every_n_steps", "pictures")
_IGNORED = ("ckpt_path", "weights_only")
"""What ``lightning-tl fit`` writes into its config.yaml beside them."""
_TEXTS = (
    "model.backbone", "model.weights", "data.root", "data.split", "data.dataset", "trainer.default_root_dir",
)  # fmt: skip
"""Names and paths, which a command line need not quote as YAML: ``2024``, ``yes`` and ``photos #2`` are folders."""
_NULLS = ("null", "Null", "NULL", "~")
"""YAML's, which are no names."""
_SPEED = {
    "model.": ("fold_batchnorm", "channels_last", "cache_features", "keep_memory", "compile"),
    "data.": ("cache", "cache_folder", "cache_gb"),
}
"""What makes lightning_tl faster and changes no number: ignored."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: 1e-3 is one, which PyYAML takes for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = _parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"--config {str(path)!r} cannot be read: {error.strerror}. Give a YAML file.") from error
    return dict(_mapping(values, f"--config {str(path)!r}"))


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{where} is no valid YAML: {error}.") from error


def _mapping(values: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must map names to values. Received: {values!r}.")
    return values


def _on_top(below: Any, value: Any, key: str) -> Any:
    """What ``lightning-tl fit`` makes of a value where there is one already: blocks are merged, all else replaced."""
    if key in ("model", "data", "trainer") and isinstance(below, Mapping):
        block = _mapping(value or {}, key)
        return {**below, **{name: _on_top(below.get(name), item, f"{key}.{name}") for name, item in block.items()}}
    return value


def _set(values: dict[str, Any], key: str, value: Any, block: str = "") -> None:
    """Set the value at a dotted key, below ``block``; blocks on the way are copied or made, ``key+`` appends."""
    name, _, rest = key.partition(".")
    if not rest and name.endswith("+"):
        name = name.removesuffix("+")
        values[name] = [*(values.get(name) or []), *(value if isinstance(value, list) else [value])]
    elif not rest:
        values[name] = _on_top(values.get(name), value, block + name)
    else:
        inner = dict(_mapping(values.get(name) or {}, name))
        _set(inner, rest, value, f"{block}{name}.")
        values[name] = inner


def _known(values: Any, where: str, kind: type[ModelConfig] | type[DataConfig]) -> dict[str, Any]:
    """A block without the keys of speed and those left at null, whose default is null or is meant."""
    block = {key: value for key, value in _mapping(values or {}, where[:-1]).items() if key not in _SPEED[where]}
    _check_keys(block, where, [item.name for item in fields(kind)])
    return {key: value for key, value in block.items() if value is not None}


def _check_keys(values: Mapping[str, Any], where: str, known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {where}{near[0]}?" if near else f"Known: {', '.join(known)}."
            raise InputError(f"{where}{key}: unknown key. {hint}")
